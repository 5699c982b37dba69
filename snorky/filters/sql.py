"""Filters as conditions of a database: true for the rows whose JSON the filter matches.

The logic has two values there, too: a comparison with NULL is false, and its negation true. The
columns are named, with their types, by the application; a field that is none of them is missing
from every row, as it is for the index.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

from snorky.filters.fragments import FALSE, TRUE, Column, Fragment, Value, joined, sql, truth
from snorky.filters.grammar import BadQuery, parse
from snorky.filters.nodes import Filter, Group, Leaf, Node
from snorky.filters.values import DAY, DECIMAL, IDENTIFIER, INSTANT, NULL, TEXT, TIME, Constant

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

Columns = Mapping[str, type]
"""From field to int, float, str, bool, Decimal, datetime, date, time, UUID, or dict for JSON.

A dotted field may have an entry of its own, for a value with a type inside JSON.
"""

INTEGER, DOUBLE, BOOLEAN, JSON, NAIVE_INSTANT = "i", "f", "b", "J", "N"

_KINDS: dict[type, str] = {
    int: INTEGER,
    float: DOUBLE,
    str: TEXT,
    bool: BOOLEAN,
    Decimal: DECIMAL,
    datetime: INSTANT,
    date: DAY,
    time: TIME,
    UUID: IDENTIFIER,
    dict: JSON,
    list: JSON,
}
_TYPED = (Decimal, datetime, date, time, UUID)
_IN_JSON = (DECIMAL, INSTANT, DAY, TIME, IDENTIFIER)


class SQL(NamedTuple):
    """The ``text`` of a condition for a WHERE clause, and its ``parameters`` in order."""

    text: str
    parameters: list[Any]


class Operand(NamedTuple):
    """Where the values of a field are: a column, and the names that lead into its JSON."""

    column: Column
    kind: str
    """Of the column; with a path and a type inside it, of the value there."""
    path: tuple[str, ...] = ()


class Dialect(Protocol):
    """How one database says a comparison. Each may come out as NULL where it is not true."""

    def compare(self, operand: Operand, operator: str, constant: Constant) -> Fragment:
        """``==`` (not with null), an order, or ``startswith``."""

    def one_of(self, operand: Operand, constants: list[Constant]) -> Fragment: ...

    def is_null(self, operand: Operand) -> Fragment:
        """Present, and null."""

    def is_present(self, operand: Operand) -> Fragment: ...


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


def types_of_columns(columns: Columns) -> dict[str, type]:
    """The types that the filter language knows, for `parse` and for a dealer."""
    return {field: kind for field, kind in columns.items() if kind in _TYPED}


def kinds_of_columns(columns: Columns) -> dict[str, str]:
    kinds = {}
    for field, kind in columns.items():
        if kind not in _KINDS:
            names = ", ".join(known.__name__ for known in _KINDS)
            raise TypeError(f"the type of column {field!r} must be one of {names}; got {kind!r}")
        kinds[field] = _KINDS[kind]
    return kinds


def dialect_of(name: str) -> Dialect:
    if name == "postgresql":
        from snorky.filters.postgresql import PostgreSQL

        return PostgreSQL()
    from snorky.filters.sqlite import SQLite

    return SQLite()


def translated(filter: Filter, kinds: Mapping[str, str], dialect: Dialect) -> Fragment:  # noqa: A002
    return _translated(filter.node, kinds, dialect)


def fields_in(node: Node) -> set[str]:
    if isinstance(node, Leaf):
        return {node.field}
    return {field for part in node.parts for field in fields_in(part)}


def refuse_others(parsed: Filter, kinds: Mapping[str, str], names: Collection[str]) -> None:
    """Raise BadQuery where the filter names a column whose type it has no values of."""
    for field in sorted(fields_in(parsed.node)):
        name = field.partition(".")[0]
        if name in names and name not in kinds:
            raise BadQuery(f"the field {name!r} holds what a filter cannot compare")


def operand_of(field: str, kinds: Mapping[str, str]) -> Operand | None:
    """None for a field that no row has."""
    if field in kinds and "." not in field:
        return Operand(Column(field), kinds[field])
    name, *path = field.split(".")
    if kinds.get(name) != JSON:
        return None
    kind = kinds.get(field, JSON)
    return Operand(Column(name), kind if kind in _IN_JSON else JSON, tuple(path))


def _translated(node: Node, kinds: Mapping[str, str], dialect: Dialect) -> Fragment:
    if isinstance(node, Group):
        parts = [_translated(part, kinds, dialect) for part in node.parts]
        if not parts:
            return TRUE if node.operator == "and" else FALSE
        return sql("({})", joined(f" {node.operator.upper()} ", parts))
    operand = operand_of(node.field, kinds)
    if operand is None:
        return truth((node.operator == "isnull") is node.positive)
    fragment = _leaf(node, operand, dialect)
    if fragment in (TRUE, FALSE):
        return truth((fragment == TRUE) is node.positive)
    return fragment if node.positive else sql("NOT {}", fragment)


def _leaf(leaf: Leaf, operand: Operand, dialect: Dialect) -> Fragment:
    """Never NULL; without the leaf's sign."""
    name, _, value, _ = leaf
    if name == "isnull":
        null, present = dialect.is_null(operand), dialect.is_present(operand)
        return null if present == TRUE else sql("({} OR NOT {})", null, present)
    if name == "!=":
        equal = _equal(operand, [value], dialect)
        return sql("({} AND NOT {})", dialect.is_present(operand), equal)
    if name == "==":
        return _equal(operand, [value], dialect)
    if name == "in":
        return _equal(operand, list(value), dialect)
    return two_valued(dialect.compare(operand, name, value))


def _equal(operand: Operand, constants: list[Constant], dialect: Dialect) -> Fragment:
    parts = []
    if NULL in constants:
        parts.append(dialect.is_null(operand))
        constants = [constant for constant in constants if constant != NULL]
    if len(constants) == 1:
        parts.append(two_valued(dialect.compare(operand, "==", constants[0])))
    elif constants:
        parts.append(two_valued(dialect.one_of(operand, constants)))
    parts = [part for part in parts if part != FALSE]
    if not parts:
        return FALSE
    return parts[0] if len(parts) == 1 else sql("({})", joined(" OR ", parts))


def two_valued(fragment: Fragment) -> Fragment:
    return fragment if fragment in (TRUE, FALSE) else sql("COALESCE({}, FALSE)", fragment)


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
