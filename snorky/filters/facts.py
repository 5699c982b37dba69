"""A row as filters look at it: a flat dict with a fact for each kind of question.

``{"age": 20}`` becomes ``{"n:age": 20, "p:age": True, "v:age": True}``: number, present, not null.
A comparison is then one look-up, and cannot meet a value of another kind. Only facts that some
filter asks for are made, so a row of a thousand fields costs what the filters use of it.
"""

from __future__ import annotations

from typing import Any

from snorky.filters.values import CONVERT, INFINITY, NUMBER, OTHER, TEXT
from snorky.wire import canonical

PRESENT, NOT_NULL = "p", "v"

Facts = dict[str, Any]


class _Step:
    """One name of a path: the facts that are wanted of the value there, and the names below it."""

    __slots__ = ("below", "name", "wanted")

    def __init__(self) -> None:
        self.below: dict[str, _Step] | None = None
        self.wanted: dict[str, str] = {}
        """From the kind of fact to its key."""


class Reader:
    """Makes the facts of a row. Counts who wants which, so that none is made for nobody."""

    def __init__(self) -> None:
        self._root: dict[str, _Step] = {}
        self._uses: dict[str, int] = {}
        self._keys: dict[str, str] = {}

    @property
    def fields(self) -> list[str]:
        """The fields that filters look at, sorted."""
        return sorted({key[2:] for key in self._uses})

    def want(self, key: str) -> str:
        """Make this fact from now on. Returns the key: the same object for all who want it."""
        uses = self._uses.get(key)
        if uses is not None:
            self._uses[key] = uses + 1
            return self._keys[key]
        self._uses[key] = 1
        self._keys[key] = key
        *path, last = key[2:].split(".")
        steps = self._root
        for name in path:
            step = steps.get(name)
            if step is None:
                step = steps[name] = _Step()
            if step.below is None:
                step.below = {}
            steps = step.below
        step = steps.get(last)
        if step is None:
            step = steps[last] = _Step()
        step.wanted[key[0]] = key
        return key

    def release(self, key: str) -> None:
        """One who wanted it no longer does."""
        uses = self._uses[key] - 1
        if uses:
            self._uses[key] = uses
            return
        del self._uses[key], self._keys[key]
        self._forget(self._root, key[2:].split("."), key[0])

    def _forget(self, steps: dict[str, _Step], path: list[str], kind: str) -> None:
        step = steps[path[0]]
        if len(path) == 1:
            del step.wanted[kind]
        else:
            assert step.below is not None
            self._forget(step.below, path[1:], kind)
            if not step.below:
                step.below = None
        if not step.wanted and step.below is None:
            del steps[path[0]]

    def read(self, row: Any) -> Facts:
        """The facts of a row: of any JSON value. Never raises; one that is no object has none."""
        facts: Facts = {}
        if isinstance(row, dict):
            _read(self._root, row, facts)
        return facts


def _read(steps: dict[str, _Step], row: dict[str, Any], facts: Facts) -> None:
    # Whichever is fewer: neither a wide row nor filters on many fields make the other dear.
    for name in row if len(row) < len(steps) else steps:
        step = steps.get(name)
        if step is None or name not in row:
            continue
        value = row[name]
        if step.wanted:
            _add(step.wanted, value, facts)
        if step.below is not None and isinstance(value, dict):
            _read(step.below, value, facts)


def _add(wanted: dict[str, str], value: Any, facts: Facts) -> None:
    if PRESENT in wanted:
        facts[wanted[PRESENT]] = True
    if isinstance(value, float) and not -INFINITY < value < INFINITY:
        value = None  # As JSON would have it.
    if value is None:
        if OTHER in wanted:
            facts[wanted[OTHER]] = "null"
        return
    for kind, key in wanted.items():
        if kind == NUMBER:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                facts[key] = value
        elif kind == TEXT:
            if isinstance(value, str):
                facts[key] = value
        elif kind == NOT_NULL:
            facts[key] = True
        elif kind == OTHER:
            if isinstance(value, bool):
                facts[key] = "true" if value else "false"
            elif isinstance(value, (dict, list, tuple)):
                try:
                    facts[key] = canonical(value)
                except (TypeError, ValueError):
                    pass  # No JSON: equal to nothing.
        elif kind != PRESENT:
            converted = CONVERT[kind](value)
            if converted is not None:
                facts[key] = converted
