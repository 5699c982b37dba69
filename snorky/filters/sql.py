"""Filters as the conditions of queries: in SQL, and for SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from snorky.filters.columns import Columns, kinds_of_columns, types_of_columns
from snorky.filters.conditions import dialect_of, translated
from snorky.filters.fragments import Column, Value
from snorky.filters.grammar import parse

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


class SQL(NamedTuple):
    """The ``text`` of a condition for a WHERE clause, and its ``parameters`` in order."""

    text: str
    parameters: list[Any]


def to_sql(
    filter: Any,  # noqa: A002 (the language's word)
    columns: Columns,
    dialect: str = "postgresql",
    names: Mapping[str, str] | None = None,
) -> SQL:
    """The filter (JSON, or what `parse` returned) as a condition. Raises BadQuery.

    ``dialect`` is ``postgresql`` (16 or newer; parameters are ``%s``, as psycopg has them) or
    ``sqlite`` (``?``). Columns are named as their fields, unless ``names`` has SQL for them. On
    PostgreSQL instants are ``timestamptz`` and JSON is ``jsonb`` or ``json``; on SQLite instants,
    dates, times, UUIDs and JSON are text.
    """
    placeholder = {"postgresql": "%s", "sqlite": "?"}
    if dialect not in placeholder:
        raise ValueError(f"expected the dialect postgresql or sqlite; got {dialect!r}")
    kinds = kinds_of_columns(columns)
    fragment = translated(parse(filter, types_of_columns(columns)), kinds, dialect_of(dialect))
    text, parameters = [], []
    for part in fragment.parts:
        if isinstance(part, Value):
            text.append(placeholder[dialect])
            parameters.append(part.value)
        elif isinstance(part, Column):
            text.append((names or {}).get(part.field) or _quoted(part.field))
        else:
            text.append(part)
    return SQL("".join(text), parameters)


def _quoted(name: str) -> str:
    # A percent sign is a placeholder's first half for psycopg.
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def to_sqlalchemy(
    filter: Any,  # noqa: A002
    source: Any,
    types: Mapping[str, type] | None = None,
) -> ColumnElement[bool]:
    """The filter as a condition for ``where()``, on PostgreSQL and SQLite. Raises BadQuery.

    ``source`` is a mapped class, a table, or a dict from field to column. A field's type is its
    column's; ``types`` says otherwise, and gives types to fields inside JSON (``info.price``).
    """
    # Only here: whoever has no SQLAlchemy can do without.
    from snorky.filters import sqlalchemy

    return sqlalchemy.to_sqlalchemy(filter, source, types)
