"""Filters written as Python: ``field("team") == 3``.

::

    mine = (field("team") == 3) & ~field("state").in_(["done", "dropped"])
    mine.json   # ["and", ["==", "team", 3], ["not", ["in", "state", ["done", "dropped"]]]]

Whatever takes a filter takes what is built here, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID


class Condition(list[Any]):
    """A filter as JSON, a list, that ``&``, ``|`` and ``~`` join with others."""

    __slots__ = ()

    @property
    def json(self) -> list[Any]:
        """A plain list."""
        return [part.json if isinstance(part, Condition) else part for part in self]

    def __and__(self, other: Condition) -> Condition:
        return _joined("and", self, other)

    def __or__(self, other: Condition) -> Condition:
        return _joined("or", self, other)

    def __invert__(self) -> Condition:
        return self[1] if self[0] == "not" else Condition(["not", self])

    def __bool__(self) -> bool:
        # `a and b` would be b alone.
        raise TypeError("a filter has no truth; join filters by &, | and ~ instead of and, or, not")


class field:  # noqa: N801 (it reads as a function)
    """A field of a row, by its ``name``. Dots lead into nested objects: ``field("player.team")``.

    Compare it by ``==``, ``!=``, ``<``, ``<=``, ``>`` and ``>=``.
    """

    __slots__ = ("name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self.name = name

    def _compared(self, operator: str, value: Any) -> Condition:
        return Condition([operator, self.name, _json(value)])

    # The types are those of object, whose answers are no filters.
    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        return self._compared("==", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        """Present and not equal."""
        return self._compared("!=", value)

    def __lt__(self, value: Any) -> Condition:
        return self._compared("<", value)

    def __le__(self, value: Any) -> Condition:
        return self._compared("<=", value)

    def __gt__(self, value: Any) -> Condition:
        return self._compared(">", value)

    def __ge__(self, value: Any) -> Condition:
        return self._compared(">=", value)

    def in_(self, values: Iterable[Any]) -> Condition:
        """Equal to one of ``values``."""
        return self._compared("in", list(values))

    def isnull(self, null: bool = True) -> Condition:
        """Null or missing."""
        return self._compared("isnull", null)

    def startswith(self, prefix: str) -> Condition:
        """A text that begins so, upper and lower case being different."""
        return self._compared("startswith", prefix)


def all_of(*conditions: Condition) -> Condition:
    """True where all are; without any, for every row."""
    return Condition(["and", *conditions])


def any_of(*conditions: Condition) -> Condition:
    """True where at least one is; without any, for no row."""
    return Condition(["or", *conditions])


def _joined(operator: str, *conditions: Condition) -> Condition:
    parts: list[Condition] = []
    for condition in conditions:
        parts += condition[1:] if condition[0] == operator else [condition]
    return Condition([operator, *parts])


def _json(value: Any) -> Any:
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    return value
