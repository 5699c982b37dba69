"""Under what a filter is filed, so that a row finds it.

A predicate is one question about one fact of a row, of a kind that an index answers at once. The
cover of a filter is a set of predicates of which a row that matches the filter satisfies at least
one: so the filter needs to be looked at for those rows only. It is no normal form, which may be
exponentially large: an ``and`` is covered by its cheapest part, an ``or`` by all of its parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from snorky.filters.shapes import Program
from snorky.filters.values import OTHER

Method = Literal["equal", "prefix", "between", "above", "below"]

MAX_PLACES = 1_000
"""Places under which one filter is filed, at all levels."""


class Predicate(NamedTuple):
    """``method`` says what ``value`` is: the value, the prefix, both bounds, or the one bound."""

    method: Method
    key: str
    value: Any


Used = tuple[tuple[Method, str], ...]
"""Methods and keys that have parted the filters already: to ask them again parts nothing."""

Count = Callable[[Predicate], int]
"""How many filters are filed under a predicate."""

_RANKS: dict[Method, int] = {"equal": 0, "prefix": 1, "between": 2, "above": 4, "below": 4}
_RANK_OF_TWO_VALUES = 3
"""Whatever is true, false or null parts little, so bounds on both sides go first."""

# (rank, places, filters filed there): the lowest is the cheapest
_Cost = tuple[int, int, int]


def cover(
    program: Program, arguments: tuple[Any, ...], used: Used, count: Count
) -> list[Predicate] | None:
    """The cheapest cover; None where the filter has none. Empty: no row matches."""
    found = _cover(program, arguments, used, count)
    return None if found is None else found[1]


def _cover(
    program: Program, arguments: tuple[Any, ...], used: Used, count: Count
) -> tuple[_Cost, list[Predicate]] | None:
    operator, rest = program
    if operator == "or":
        return _union(rest, arguments, used, count)
    if operator == "and":
        return _cheapest(rest, arguments, used, count)
    predicates = _leaf(operator, rest, arguments)
    if not predicates or (predicates[0].method, predicates[0].key) in used:
        return None
    return _cost(predicates, count), predicates


def _leaf(operator: str, offset: int, arguments: tuple[Any, ...]) -> list[Predicate]:
    if operator == "eq":
        return [Predicate("equal", arguments[offset], arguments[offset + 1])]
    if operator == "in":
        return [Predicate("equal", arguments[offset], value) for value in arguments[offset + 1]]
    if operator == "sw":
        return [Predicate("prefix", arguments[offset], arguments[offset + 1])]
    if operator == "gt" or operator == "ge":
        return [Predicate("above", arguments[offset], arguments[offset + 1])]
    if operator == "lt" or operator == "le":
        return [Predicate("below", arguments[offset], arguments[offset + 1])]
    return []


def _cost(predicates: list[Predicate], count: Count) -> _Cost:
    method, key, _ = predicates[0]
    rank = _RANKS[method]
    if method == "equal" and key[0] == OTHER:
        rank = _RANK_OF_TWO_VALUES
    if len(predicates) == 1:
        return (rank, 1, count(predicates[0]))
    return (rank, len(predicates), sum(map(count, predicates)))


def _union(
    parts: tuple[Program, ...], arguments: tuple[Any, ...], used: Used, count: Count
) -> tuple[_Cost, list[Predicate]] | None:
    rank, filed = 0, 0
    predicates: dict[Predicate, None] = {}
    for part in parts:
        found = _cover(part, arguments, used, count)
        if found is None:
            return None
        (part_rank, _, part_filed), part_predicates = found
        rank, filed = max(rank, part_rank), filed + part_filed
        predicates.update(dict.fromkeys(part_predicates))
    return (rank, len(predicates), filed), list(predicates)


def _cheapest(
    parts: tuple[Program, ...], arguments: tuple[Any, ...], used: Used, count: Count
) -> tuple[_Cost, list[Predicate]] | None:
    best: tuple[_Cost, list[Predicate]] | None = None
    bounds: dict[str, dict[Method, Any]] = {}
    for part in parts:
        found = _cover(part, arguments, used, count)
        operator, offset = part
        if operator in ("gt", "ge", "lt", "le"):
            method: Method = "above" if operator[0] == "g" else "below"
            bounds.setdefault(arguments[offset], {})[method] = arguments[offset + 1]
        if found is not None and (best is None or found[0] < best[0]):
            best = found
    for key, both in bounds.items():
        if len(both) == 2 and ("between", key) not in used:
            interval = [Predicate("between", key, (both["above"], both["below"]))]
            cost = _cost(interval, count)
            if best is None or cost < best[0]:
                best = cost, interval
    return best
