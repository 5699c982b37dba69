"""Columns as filters see them: what they hold, and what a database must say of them.

The columns are named, with their types, by the application; a field that is none of them is missing
from every row, as it is for the index.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import NamedTuple, Protocol
from uuid import UUID

from snorky.filters.fragments import Column, Fragment
from snorky.filters.values import DAY, DECIMAL, IDENTIFIER, INSTANT, TEXT, TIME, Constant

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


def operand_of(field: str, kinds: Mapping[str, str]) -> Operand | None:
    """None for a field that no row has."""
    if field in kinds and "." not in field:
        return Operand(Column(field), kinds[field])
    name, *path = field.split(".")
    if kinds.get(name) != JSON:
        return None
    kind = kinds.get(field, JSON)
    return Operand(Column(name), kind if kind in _IN_JSON else JSON, tuple(path))
