"""What waits in the outbox, as entries of Snorky's log, and who holds the turn to tell it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from snorky.backend.entries import Change
from snorky.backend.outbox.reading import STEP_ENTRIES, Entry, entry_of

MAX_STEP_BYTES = 2 * 1024 * 1024
"""Of one request; the back end takes twice that."""

Rows = Sequence[Sequence[Any]]  # model, old_data, new_data, tx_key


class Found(NamedTuple):
    """An entry that waits in the outbox.

    ``place`` is what the log keeps when it has been told, and ``rows`` what the outbox forgets.
    """

    entry: Entry
    place: Any
    rows: Any = None


def entry_of_rows(key: str, rows: Rows) -> Entry:
    """The entry of these rows, with the keys of the transactions in it."""
    changes = [Change(model, old, new) for model, old, new, _ in rows if model is not None]
    return entry_of(key, changes, list(dict.fromkeys(key for *_, key in rows if key is not None)))


class Turn(Protocol):
    """The outbox in the hands of one drainer, which nobody else reads meanwhile."""

    state: dict[str, Any]
    """What the last one left: ``holder``, ``fence`` and, where it is not in the log, ``place``."""

    def save(self, state: dict[str, Any]) -> None:
        """Leave this for the next."""

    def read(self, place: Any) -> Iterable[Found]:
        """What has committed and was not told, in order. Not all of it, perhaps.

        First a reset of all models, where the outbox is not the one that ``place`` was left in.
        """

    def forget(self, found: Sequence[Found]) -> None:
        """These were told."""


class Outbox(Protocol):
    """An outbox as drainers see it. For one thread, on a connection of its own."""

    def turn(self, patience: float) -> AbstractContextManager[Turn | None]:
        """Take the turn; None where others have it for longer than ``patience`` seconds."""

    def waits(self, place: Any) -> bool:
        """Whether there is anything that was not told, or the outbox is another one."""

    def close(self) -> None:
        """Give up the connection; the next turn makes another."""


def steps(found: Iterable[Found]) -> Iterator[list[Found]]:
    """What was found, so much at a time as one request may hold."""
    step: list[Found] = []
    size = 0
    for each in found:
        length = len(each.entry.text.encode())
        if step and (len(step) >= STEP_ENTRIES or size + length > MAX_STEP_BYTES):
            yield step
            step, size = [], 0
        step.append(each)
        size += length
    if step:
        yield step
