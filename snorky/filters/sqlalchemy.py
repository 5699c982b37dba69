"""Filters as conditions of SQLAlchemy: for PostgreSQL and SQLite, whichever runs the statement."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Boolean, ColumnElement, DateTime, inspect, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.functions import FunctionElement

from snorky.filters.columns import (
    NAIVE_INSTANT,
    kinds_of_columns,
    operand_of,
    types_of_columns,
)
from snorky.filters.conditions import dialect_of, fields_in, refuse_others, translated
from snorky.filters.fragments import Column, Value
from snorky.filters.grammar import parse
from snorky.filters.nodes import Filter

# The first that fits counts: True is an integer, too, and a datetime a date.
_KNOWN = (bool, int, float, str, Decimal, datetime, date, time, UUID, dict, list)


class FilterCondition(FunctionElement[bool]):
    """A filter over columns; its clauses are the columns that it looks at."""

    type = Boolean()
    inherit_cache = False
    name = "snorky_filter"

    def __init__(
        self, parsed: Filter, kinds: Mapping[str, str], columns: Mapping[str, Any]
    ) -> None:
        operands = [operand_of(field, kinds) for field in sorted(fields_in(parsed.node))]
        self.names = list(dict.fromkeys(one.column.field for one in operands if one is not None))
        self.parsed = parsed
        self.kinds = kinds
        super().__init__(*[columns[name] for name in self.names])


@compiles(FilterCondition)
def _compile(condition: FilterCondition, compiler: Any, **options: Any) -> str:
    name = compiler.dialect.name
    if name not in ("postgresql", "sqlite"):
        raise NotImplementedError(f"filters are translated for postgresql and sqlite; got {name}")
    columns = dict(zip(condition.names, condition.clauses, strict=True))
    fragment = translated(condition.parsed, condition.kinds, dialect_of(name))
    text = []
    for part in fragment.parts:
        if isinstance(part, Column):
            text.append(compiler.process(columns[part.field], **options))
        elif isinstance(part, Value):
            text.append(compiler.process(literal(part.value), **options))
        else:
            text.append(part.replace("%", "%%") if compiler.preparer._double_percents else part)
    return "".join(text)


def to_sqlalchemy(
    filter: Any,  # noqa: A002 (the language's word)
    source: Any,
    types: Mapping[str, type] | None = None,
) -> ColumnElement[bool]:
    """The filter (JSON, or what `parse` returned) as a condition. Raises BadQuery.

    ``source`` is a mapped class, a table, or a dict from field to column. A field's type is its
    column's; ``types`` says otherwise, and gives types to fields inside JSON (``info.price``).
    """
    columns = _columns_of(source)
    python_types = {name: _python_type(column) for name, column in columns.items()}
    found = {name: kind for name, kind in python_types.items() if kind is not None}
    found |= dict(types or {})
    kinds = kinds_of_columns(found)
    for name, column in columns.items():
        if isinstance(column.type, DateTime) and not column.type.timezone:
            kinds[name] = NAIVE_INSTANT
    parsed = parse(filter, types_of_columns(found))
    refuse_others(parsed, kinds, columns)
    return FilterCondition(parsed, kinds, columns)


def _columns_of(source: Any) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return dict(source)
    if isinstance(source, type):
        mapper: Mapper[Any] = inspect(source)
        return {one.key: getattr(source, one.key) for one in mapper.column_attrs}
    return {column.key: column for column in source.columns}


def _python_type(column: Any) -> type | None:
    """None for what the filter language has no values of, such as binary data."""
    if isinstance(column.type, JSON):
        return dict
    try:
        found = column.type.python_type
    except NotImplementedError:
        return None
    if issubclass(found, Enum):
        return None  # The database may hold its names or its values.
    return next((known for known in _KNOWN if issubclass(found, known)), None)
