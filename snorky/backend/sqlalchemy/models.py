"""Which mapped classes tell their changes, and how a row of them looks on pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple, TypeVar, overload
from uuid import UUID

from sqlalchemy import FromClause, Table, inspect
from sqlalchemy.orm import Mapper

C = TypeVar("C", bound=type)
Render = Callable[[Any], Any]


class Subscribable(NamedTuple):
    """A mapped class, its name in subscriptions, and what makes the JSON of an instance."""

    mapped: type
    name: str
    render: Render | None
    """None: a row is its columns."""

    @property
    def mapper(self) -> Mapper[Any]:
        mapper: Mapper[Any] = inspect(self.mapped)
        return mapper

    def text(self, instance: Any) -> str:
        """The JSON of a row, an object. Raises what ``render`` raises, or TypeError."""
        row = self._columns(instance) if self.render is None else self.render(instance)
        text = json.dumps(row, default=_plain, separators=(",", ":"))
        if not text.startswith("{"):
            raise TypeError(f"a row of {self.name} must be rendered as an object, got {text:.100}")
        return text

    def _columns(self, instance: Any) -> dict[str, Any]:
        # Of this class: the instance may be of one derived from it, whose part is not written yet.
        return {one.key: getattr(instance, one.key) for one in self.mapper.column_attrs}


_subscribable: dict[type, Subscribable] = {}
_by_table: dict[FromClause, list[Subscribable]] = {}


@overload
def subscribable(mapped: C) -> C: ...


@overload
def subscribable(*, render: Render | None = None, name: str | None = None) -> Callable[[C], C]: ...


def subscribable(
    mapped: C | None = None, *, render: Render | None = None, name: str | None = None
) -> C | Callable[[C], C]:
    """Make a mapped class tell its changes; its name is the class's, or ``name``.

    ``render`` gives what pages show of an instance, which should be what the API gives::

        @subscribable(render=lambda task: TaskOut.model_validate(task).model_dump(mode="json"))
        class Task(Base): ...

    Without it a row is its columns. The instance is of a session of its own, so that what was not
    flushed is not seen.
    """
    if mapped is None:
        return lambda mapped: _register(mapped, name, render)
    return _register(mapped, name, render)


def name_of(mapped: type) -> str:
    """What a class is called in subscriptions."""
    known = _subscribable.get(mapped)
    return mapped.__name__ if known is None else known.name


def models_over(table: FromClause) -> list[Subscribable]:
    """The subscribable classes with rows that ``table`` holds, or a part of."""
    if not isinstance(table, Table):
        return []
    found = _by_table.get(table)
    if found is None:
        # Not before now, since mappers are complete when all classes are there.
        found = [one for one in _subscribable.values() if table in one.mapper.tables]
        _by_table[table] = found
    return found


def model_names() -> Iterable[str]:
    return [one.name for one in _subscribable.values()]


def _register(mapped: C, name: str | None, render: Render | None) -> C:
    name = name or mapped.__name__
    for other in _subscribable.values():
        if other.name == name and other.mapped.__qualname__ != mapped.__qualname__:
            raise ValueError(
                f"{other.mapped.__qualname__} and {mapped.__qualname__} would both be called "
                f"{name!r} in subscriptions: give one of them another, @subscribable(name=...)"
            )
    _subscribable[mapped] = Subscribable(mapped, name, render)
    _by_table.clear()
    return mapped


def _plain(value: Any) -> Any:
    """What JSON lacks, as pydantic writes it."""
    match value:
        case datetime() if value.utcoffset() is not None and not value.utcoffset():
            return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
        case date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case Enum():
            return value.value
    raise TypeError(f"{value!r:.100} is no JSON: give @subscribable a render")
