"""Under what a filter is filed, so that a row finds it.

A predicate is one question about one fact of a row, of a kind that an index answers at once. The
cover of a filter is a set of predicates of which a row that matches the filter satisfies at least
one: so the filter needs to be looked at for those rows only. It is no normal form, which may be
exponentially large: an ``and`` is covered by its cheapest part, an ``or`` by all of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from snorky.filters.shapes import Program, Shape
from snorky.filters.values import OTHER

Method = Literal["equal", "prefix", "between", "above", "below"]


Asked = tuple[Method, str, Iterable[Any]]
"""Predicates of one comparison: a method, the key of a fact, and for each the value: the value, the
prefix, both bounds, or the one bound, as the method says."""

Used = tuple[tuple[Method, str], ...]
"""Methods and keys that have parted the filters already: to ask them again parts nothing."""

Count = Callable[[Method, str, Any], int]
"""About how many filters are filed under a predicate."""

Code = int
"""A comparison of a filter: where its arguments begin. Two bounds: negative, made of both.

It stands for all predicates of the comparison, and takes no memory of its own.
"""

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
_CODES = 2**16

# (rank, places): the lowest is the cheapest; of equal ones that where fewer filters are.
_Found = tuple[tuple[int, int], list[Code]]


def asked_by(code: Code, shape: Shape, arguments: tuple[Any, ...]) -> Asked:
    """The predicates that a code stands for."""
    if code < 0:
        low, high = divmod(-1 - code, _CODES)
        return "between", arguments[low], ((arguments[low + 1], arguments[high + 1]),)
    operator, value = shape.operators[code], arguments[code + 1]
    if operator == "in":
        return "equal", arguments[code], value
    return _METHODS[operator], arguments[code], (value,)


class Cover:
    """Finds the cheapest cover of a filter that has at most ``most`` predicates.

    ``used`` are those that would part nothing, ``count`` tells how full the others are.
    """

    __slots__ = ("_arguments", "_count", "_most", "_shape", "_used")

    def __init__(
        self, shape: Shape, arguments: tuple[Any, ...], used: Used, count: Count, most: int
    ) -> None:
        self._shape = shape
        self._arguments = arguments
        self._used = used
        self._count = count
        self._most = most

    def find(self) -> list[Code] | None:
        """None where there is no cover. An empty one: no row matches."""
        found = self._of(self._shape.program)
        return None if found is None else found[1]

    def _of(self, program: Program) -> _Found | None:
        operator, rest = program
        method = _METHODS.get(operator)
        if method is None:
            if operator == "or":
                return self._union(rest)
            return self._cheapest(rest) if operator == "and" else None
        key = self._arguments[rest]
        if self._used and (method, key) in self._used:
            return None
        rank = _RANKS[method]
        if method == "equal" and key[0] == OTHER:
            rank = _RANK_OF_TWO_VALUES
        if operator != "in":
            return (rank, 1), [rest]
        places = len(self._arguments[rest + 1])
        return None if places > self._most else ((rank, places), [rest])

    def _union(self, parts: tuple[Program, ...]) -> _Found | None:
        rank, places = 0, 0
        codes: list[Code] = []
        for part in parts:
            found = self._of(part)
            if found is None:
                return None
            (part_rank, part_places), part_codes = found
            rank = max(rank, part_rank)
            places += part_places
            if places > self._most:
                return None
            codes += part_codes
        return (rank, places), codes

    def _cheapest(self, parts: tuple[Program, ...]) -> _Found | None:
        best: _Found | None = None
        bounds = [part for part in parts if part[0] in _BOUNDS]
        if len(bounds) > 1:
            for key, code in _pairs(bounds, self._arguments):
                if best is None and ("between", key) not in self._used:
                    best = (_RANKS["between"], 1), [code]
        for part in parts:
            found = self._of(part)
            if found is not None and (best is None or self._is_cheaper(found, best)):
                best = found
        return best

    def _is_cheaper(self, found: _Found, best: _Found) -> bool:
        if found[0] == best[0]:
            return self._filed(found[1]) < self._filed(best[1])
        return found[0] < best[0]

    def _filed(self, codes: list[Code]) -> int:
        filed = 0
        for code in codes:
            if code >= 0:
                method, key, values = asked_by(code, self._shape, self._arguments)
                filed += sum([self._count(method, key, value) for value in values])
        return filed


def _pairs(bounds: list[tuple[str, int]], arguments: tuple[Any, ...]) -> list[tuple[str, Code]]:
    """Keys that have a bound on both sides, and the codes of both."""
    above = {arguments[at]: at for name, at in bounds if name[0] == "g"}
    below = {arguments[at]: at for name, at in bounds if name[0] == "l"}
    return [(key, -1 - (low * _CODES + below[key])) for key, low in above.items() if key in below]
