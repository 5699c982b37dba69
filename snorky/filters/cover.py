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

_BOUNDS = ("gt", "ge", "lt", "le")
_METHODS: dict[str, Method] = {
    "eq": "equal",
    "in": "equal",
    "sw": "prefix",
    "gt": "above",
    "ge": "above",
    "lt": "below",
    "le": "below",
}

# (rank, places, filters filed there): the lowest is the cheapest
_Cost = tuple[int, int, int]


def cover(
    program: Program, arguments: tuple[Any, ...], used: Used, count: Count, most: int
) -> list[Predicate] | None:
    """The cheapest cover; None where the filter has none of at most ``most`` predicates.

    Empty: no row matches.
    """
    found = _cover(program, arguments, used, count, most)
    return None if found is None else found[1]


def _cover(
    program: Program, arguments: tuple[Any, ...], used: Used, count: Count, most: int
) -> tuple[_Cost, list[Predicate]] | None:
    operator, rest = program
    method = _METHODS.get(operator)
    if method is None:
        if operator == "or":
            return _union(rest, arguments, used, count, most)
        return _cheapest(rest, arguments, used, count, most) if operator == "and" else None
    key = arguments[rest]
    if used and (method, key) in used:
        return None
    rank = _RANKS[method]
    if method == "equal" and key[0] == OTHER:
        rank = _RANK_OF_TWO_VALUES
    if operator != "in":
        predicate = Predicate(method, key, arguments[rest + 1])
        return (rank, 1, count(predicate)), [predicate]
    if len(arguments[rest + 1]) > most:
        return None
    predicates = [Predicate(method, key, value) for value in arguments[rest + 1]]
    return (rank, len(predicates), sum(map(count, predicates))), predicates


def _union(
    parts: tuple[Program, ...], arguments: tuple[Any, ...], used: Used, count: Count, most: int
) -> tuple[_Cost, list[Predicate]] | None:
    rank, filed = 0, 0
    predicates: dict[Predicate, None] = {}
    for part in parts:
        found = _cover(part, arguments, used, count, most)
        if found is None:
            return None
        (part_rank, _, part_filed), part_predicates = found
        rank, filed = max(rank, part_rank), filed + part_filed
        predicates.update(dict.fromkeys(part_predicates))
        if len(predicates) > most:
            return None
    return (rank, len(predicates), filed), list(predicates)


def _cheapest(
    parts: tuple[Program, ...], arguments: tuple[Any, ...], used: Used, count: Count, most: int
) -> tuple[_Cost, list[Predicate]] | None:
    best: tuple[_Cost, list[Predicate]] | None = None
    bounds: list[tuple[str, int]] = []
    for part in parts:
        if part[0] in _BOUNDS:
            bounds.append(part)
        found = _cover(part, arguments, used, count, most)
        if found is not None and (best is None or found[0] < best[0]):
            best = found
    if len(bounds) > 1:
        for key, both in _pairs(bounds, arguments):
            if ("between", key) not in used and (best is None or best[0][0] > _RANKS["between"]):
                interval = Predicate("between", key, both)
                best = (_RANKS["between"], 1, 0), [interval]
    return best


def _pairs(
    bounds: list[tuple[str, int]], arguments: tuple[Any, ...]
) -> list[tuple[str, tuple[Any, Any]]]:
    """Keys that have a bound on both sides."""
    above = {arguments[at]: arguments[at + 1] for name, at in bounds if name[0] == "g"}
    below = {arguments[at]: arguments[at + 1] for name, at in bounds if name[0] == "l"}
    return [(key, (low, below[key])) for key, low in above.items() if key in below]
