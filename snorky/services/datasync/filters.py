"""Filters: which rows a query in prefix notation matches, e.g. ``["<", "player.age", 18]``.

A filter is checked and compiled once; the compiled function never raises, whatever the row.

The logic has two values. A comparison with a missing field, or of values that have no order, is
false, so its ``not`` is true. Values keep their JSON type: ``true`` is not 1 and "1" is not 1, but
1 and 1.0 are one number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from snorky.deltas import Row

MAX_DEPTH = 32
MAX_COMPARISONS = 1_000

ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS = ("==", *ORDER, "and", "or", "not")

# A function of a row; a path leads it through any JSON value.
RowTest = Callable[[Any], bool]
Getter = Callable[[Any], Any]

# What a getter returns where the row lacks the field: not even null is equal to it.
MISSING = object()


class BadQuery(ValueError):
    """A query that no dealer can answer; its text, which the web application gets, says why."""


def filter_matches(row: Row, filter: Any) -> bool:  # noqa: A002 (the name is public)
    """Whether the row matches; raises BadQuery where the filter is malformed."""
    return compile_filter(filter)(row)


def compile_filter(filter: Any) -> RowTest:  # noqa: A002
    """The filter as a function of a row. Raises BadQuery where it is malformed or too large."""
    return _Compiler().compile(filter, depth=1)


class _Compiler:
    def __init__(self) -> None:
        self.comparisons = 0

    def compile(self, node: Any, depth: int) -> RowTest:
        if not isinstance(node, (list, tuple)):
            raise BadQuery(f'a filter is an array like ["==", field, value]; got {_describe(node)}')
        if depth > MAX_DEPTH:
            raise BadQuery(f"the filter is nested deeper than {MAX_DEPTH} levels")
        if not node:
            raise BadQuery("a filter begins with an operator; got an empty array")
        name, *arguments = node
        if name == "and" or name == "or":
            parts = [self.compile(part, depth + 1) for part in arguments]
            if not parts:
                self.count_comparison()
            return _every(parts) if name == "and" else _any(parts)
        if name == "not":
            if len(arguments) != 1:
                raise BadQuery(f"'not' takes one filter; got {len(arguments)} arguments")
            return _negation(self.compile(arguments[0], depth + 1))
        if name == "==" or (isinstance(name, str) and name in ORDER):
            self.count_comparison()
            return _comparison(name, arguments)
        raise BadQuery(
            f"unknown operator {_describe(name)}; expected one of {', '.join(OPERATORS)}"
        )

    def count_comparison(self) -> None:
        # Empty "and" and "or" count too: they are leaves that cost as much.
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            raise BadQuery(f"the filter has more than {MAX_COMPARISONS} comparisons")


def _comparison(name: str, arguments: Sequence[Any]) -> RowTest:
    if len(arguments) != 2:
        raise BadQuery(f"'{name}' takes a field and a value; got {len(arguments)} arguments")
    field, value = arguments
    if not isinstance(field, str):
        raise BadQuery(f"the field of '{name}' must be a string; got {_describe(field)}")
    _check_depth(value, 1)
    get = _getter(field)
    return _equality(get, value) if name == "==" else _ordering(get, ORDER[name], value)


def _every(parts: Sequence[RowTest]) -> RowTest:
    def every(row: Any) -> bool:
        for part in parts:  # noqa: SIM110 (all() costs twice the time here)
            if not part(row):
                return False
        return True

    return every


def _any(parts: Sequence[RowTest]) -> RowTest:
    def any_(row: Any) -> bool:
        for part in parts:  # noqa: SIM110
            if part(row):
                return True
        return False

    return any_


def _negation(part: RowTest) -> RowTest:
    return lambda row: not part(row)


def _getter(field: str) -> Getter:
    if "." not in field:
        return lambda row: row.get(field, MISSING) if isinstance(row, dict) else MISSING
    path = field.split(".")

    def get(row: Any) -> Any:
        for name in path:
            if not isinstance(row, dict) or name not in row:
                return MISSING
            row = row[name]
        return row

    return get


def _equality(get: Getter, value: Any) -> RowTest:
    if value is None or isinstance(value, bool):
        return lambda row: get(row) is value
    if isinstance(value, str):
        return lambda row: bool(get(row) == value)
    if _is_number(value):
        # Python takes True for 1 and False for 0; JSON does not.
        return lambda row: (actual := get(row)) == value and not isinstance(actual, bool)
    return lambda row: _equal(value, get(row))


def _ordering(get: Getter, compare: Callable[[Any, Any], bool], value: Any) -> RowTest:
    if isinstance(value, str):
        # Python orders strings by their code points, as the filter language does.
        return lambda row: isinstance(actual := get(row), str) and compare(actual, value)
    if _is_number(value):
        return lambda row: _is_number(actual := get(row)) and compare(actual, value)
    return lambda row: False


def _equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, type by type. Recurses at most as deep as ``one``."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(_equal(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, (list, tuple)):
        return (
            isinstance(other, (list, tuple))
            and len(one) == len(other)
            and all(map(_equal, one, other))
        )
    return bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_depth(value: Any, depth: int) -> None:
    if not isinstance(value, (dict, list, tuple)):
        return
    if depth > MAX_DEPTH:
        raise BadQuery(f"a value in the filter is nested deeper than {MAX_DEPTH} levels")
    for child in value.values() if isinstance(value, dict) else value:
        _check_depth(child, depth + 1)


def _describe(value: Any) -> str:
    """Says in a few words what came; never its whole text, which may be huge."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "an array"
    return "a number"
