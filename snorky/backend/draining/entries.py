"""What waits in the outbox, as entries of Snorky's log, and who holds the turn to tell it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from snorky.backend.entries import Change, entry_text

MAX_STEP_ENTRIES = 500
MAX_STEP_BYTES = 2 * 1024 * 1024
"""Of one request; the back end takes twice that."""

Rows = Sequence[Sequence[Any]]  # model, old_data, new_data, tx_key


class Entry(NamedTuple):
    """One entry: its key, the JSON of its deltas, the keys of the transactions in it.

    ``told`` is by what the outbox knows that it was told.
    """

    key: str
    deltas: str
    keys: list[str]
    told: Any

    @classmethod
    def of(cls, key: str, rows: Rows, told: Any) -> Entry:
        changes = [Change(model, old, new) for model, old, new, _ in rows if model is not None]
        keys = list(dict.fromkeys(tx_key for *_, tx_key in rows if tx_key is not None))
        return cls(key, entry_text(changes), keys, told)

    @property
    def text(self) -> str:
        names = f'"key":{json.dumps(self.key)},"keys":{json.dumps(self.keys)}'
        return f'{{{names},"deltas":{self.deltas}}}'


class Turn(Protocol):
    """The outbox in the hands of one drainer, which nobody else reads meanwhile."""

    state: dict[str, Any]
    """What the last one left: ``holder``, ``fence`` and, where it is not in the log, ``place``."""

    def save(self, state: dict[str, Any]) -> None:
        """Leave this for the next."""

    def read(self, place: Any) -> Iterable[Entry]:
        """What has committed and was not told, in order. Not all of it, perhaps."""

    def forget(self, entries: Sequence[Entry]) -> None:
        """These were told."""


class Outbox(Protocol):
    """An outbox as drainers see it. For one thread, on a connection of its own."""

    has_places: bool
    """Whether what was told is known by a place, instead of being deleted."""

    def turn(self, patience: float) -> AbstractContextManager[Turn | None]:
        """Take the turn; None where others have it for longer than ``patience`` seconds."""

    def waits(self, place: Any) -> bool:
        """Whether there is anything that was not told."""

    def close(self) -> None:
        """Give up the connection; the next turn makes another."""


def steps(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries, so many at a time as one request may hold."""
    step: list[Entry] = []
    size = 0
    for entry in entries:
        length = len(entry.text.encode())
        if step and (len(step) >= MAX_STEP_ENTRIES or size + length > MAX_STEP_BYTES):
            yield step
            step, size = [], 0
        step.append(entry)
        size += length
    if step:
        yield step
