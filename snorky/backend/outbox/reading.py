"""What readers of the outbox have in common: rows become deltas, deltas become entries of the log.

A reader goes over an open connection to a database. ``for step in reader.read(): append(step)``
is a pass: whoever asks for the next step has appended the one before.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from snorky.backend.entries import Change, entry_text, new_key
from snorky.backend.exchange import snorky_log
from snorky.backend.outbox.installation import Condition, Table
from snorky.wire import MalformedMessage, decode, encode

Represent = Callable[[Any], tuple[str, Any]]
"""A function of a row alone, as decoded JSON: its model, and what the page shows of it."""

STEP_BYTES = 1024 * 1024
STEP_ENTRIES = 500
"""Less than the 1,000 that a step may have, of which the log knows the keys of two."""


class Lost(Exception):
    """The outbox is not what was read before: it must be read anew, by another reader."""


class Row(NamedTuple):
    """A row of the outbox: see `snorky.backend.outbox.table`."""

    table: str
    old: str | bytes | None
    new: str | bytes | None


class Entry(NamedTuple):
    """A transaction, or a run of whole ones, as an entry of the log."""

    key: str
    deltas: str
    """JSON: an array."""
    keys: Sequence[str] = ()
    """Of the transactions, beside the entry's own."""

    @property
    def text(self) -> str:
        more = f',"keys":{json.dumps(self.keys)}' if self.keys else ""
        return f'{{"key":{json.dumps(self.key)},"deltas":{self.deltas}{more}}}'


@dataclass
class Step:
    """What is appended at once, and the place in the outbox that is left in the log with it."""

    entries: list[Entry]
    place: Any
    rows: int = 0
    """Rows of the outbox that it tells."""


class Rendering:
    """What rows of the outbox are as deltas.

    ``models`` names the model of a table, where it is not the table's own name; ``represent`` has
    a function for a table whose rows are shown otherwise than they are stored.
    """

    def __init__(
        self,
        models: Mapping[str, str] | None = None,
        represent: Mapping[str, Represent] | None = None,
    ) -> None:
        self._models = dict(models or {})
        self._represent = dict(represent or {})
        self._seen: dict[str, set[str]] = {}
        self._outdated: frozenset[str] = frozenset()
        self._told: dict[str, Condition] = {}

    def note_conditions(self, tables: Iterable[Table]) -> None:
        """Learn how the triggers are: where they no longer tell all, each change is a reset."""
        conditions = {table.name: table.condition for table in tables}
        self._outdated = frozenset(
            name for name, condition in conditions.items() if condition is Condition.CHANGED
        )
        for name, condition in conditions.items():
            if condition is not Condition.INSTALLED and self._told.get(name) is not condition:
                snorky_log.warning(
                    "Triggers of %s: %s. Its lists fetch anew instead (snorky triggers install %s)",
                    name,
                    condition,
                    name,
                )
        self._told = conditions

    def models_of(self, table: str) -> set[str]:
        """The models that rows of a table are shown as, as far as we know."""
        return self._seen.get(table) or {self._models.get(table, table)}

    def resets(self, tables: Iterable[str]) -> list[Change]:
        models = dict.fromkeys(model for table in tables for model in sorted(self.models_of(table)))
        return [Change(model) for model in models]

    def changes(self, rows: Iterable[Row]) -> list[Change]:
        """What rows tell, in their order."""
        changes: list[Change] = []
        for row in rows:
            if (row.old is None and row.new is None) or row.table in self._outdated:
                changes += self.resets([row.table])
                continue
            represent = self._represent.get(row.table)
            try:
                if represent is None:
                    model = self._models.get(row.table, row.table)
                    changes.append(Change(model, _checked(row.old), _checked(row.new)))
                else:
                    changes += self._represented(row, represent)
            except Exception:
                # Whatever an application's function raises: the relay must go on.
                snorky_log.exception("A row of %s cannot be shown: its lists fetch anew", row.table)
                changes += self.resets([row.table])
        return changes

    def _represented(self, row: Row, represent: Represent) -> list[Change]:
        old, new = self._shown(row, row.old, represent), self._shown(row, row.new, represent)
        if old is not None and new is not None and old[0] != new[0]:
            return [Change(old[0], old[1]), Change(new[0], None, new[1])]
        model = (old or new or ("", ""))[0]
        return [Change(model, old and old[1], new and new[1])]

    def _shown(
        self, row: Row, text: str | bytes | None, represent: Represent
    ) -> tuple[str, str] | None:
        if text is None:
            return None
        model, data = represent(decode_leniently(text))
        if not isinstance(model, str) or not isinstance(data, dict):
            raise TypeError(f"expected the name of a model and an object, got {model!r:.100}")
        self._seen.setdefault(row.table, set()).add(model)
        return model, encode(data).decode()


class Reader(ABC):
    """Reads the outbox over one connection, for whoever holds the source's lease."""

    rendering: Rendering
    place: Any
    """What is left in the log: JSON of at most 1 KiB."""
    waiting = 0
    """Rows that were found and have not been told."""
    oldest: float | None = None
    """When the oldest of these was written, in seconds since 1970."""

    @abstractmethod
    def begin(self) -> Iterator[Step]:
        """What has to be told before anything is read: that something may have been missed."""

    @abstractmethod
    def read(self) -> Iterator[Step]:
        """Yield what is visible now, in steps. After each it has been appended."""

    @abstractmethod
    def check(self) -> Iterator[Step]:
        """Look whether something changed that triggers do not see, and tell it as resets."""

    def reset(self, tables: Iterable[str]) -> Iterator[Step]:
        """Let the pages of these tables fetch anew."""
        changes = self.rendering.resets(tables)
        if changes:
            yield Step([Entry(new_key(), entry_text(changes))], self.place)


def entry_of(key: str, changes: Sequence[Change], keys: Sequence[str] = ()) -> Entry:
    """The entry of changes; of resets of their models where it would be too large."""
    return Entry(key, entry_text(changes), keys)


def reset_entry(key: str, rendering: Rendering, tables: Iterable[str]) -> Entry:
    return Entry(key, entry_text(rendering.resets(tables)))


_NOT_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|[-+]?\b(?:Inf(?:inity)?|NaN|[0-9.]+[eE]\+?[0-9]{3,})\b')


def decode_leniently(text: str | bytes) -> Any:
    """The value of JSON as databases write it, where infinities are numbers: here null.

    Raises ValueError.
    """
    try:
        return decode(text)
    except MalformedMessage:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        plain = _NOT_JSON.sub(lambda m: m[0] if m[0].startswith('"') else "null", text)
        return decode(plain)


def _checked(text: str | bytes | None) -> str | None:
    """The text, if it is JSON that the server reads as well; else what can be read of it."""
    if text is None:
        return None
    try:
        value = decode(text)
    except MalformedMessage:
        value = decode_leniently(text)
        text = encode(value)
    if not isinstance(value, dict):
        raise TypeError(f"expected a row that is an object, got {value!r:.100}")
    return text.decode() if isinstance(text, bytes) else text
