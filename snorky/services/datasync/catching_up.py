"""What those who come back have missed: every row touched since, as it is now.

Many who come back missed the same: what it is as JSON is made once for them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec

from snorky.services.datasync.delivery import change_json
from snorky.services.datasync.items import Item, KeptRow, Note
from snorky.wire import encode

_IN = b'{"model":%b,"key":%b,"data":%b,"in":[%d],"out":[]}'
_OUT = b'{"model":%b,"key":%b,"data":null,"in":[],"out":[%d]}'

CHANGE_BYTES = 100
"""What a change costs beside its row, about."""

MAX_KEPT_BYTES = 8 * 1024 * 1024
"""Of JSON that is kept for the next who come back."""


class TooMuch(Exception):
    """More was missed than may be told."""


class Told(NamedTuple):
    """What all are told of an item who come back from ``after`` or later, before ``before``."""

    after: int
    before: int
    newest: Note
    changes: msgspec.Raw
    size: int


class CatchingUp:
    """Says what was missed. ``max_kept_bytes`` of it are kept."""

    def __init__(self, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._most = max_kept_bytes
        self._kept: OrderedDict[int, Told] = OrderedDict()
        self._kept_bytes = 0

    def since(self, items: tuple[Item, ...], seq: int, most: int) -> tuple[Any, int]:
        """The changes of items after an entry, as JSON is made of them, and about how large it is.

        Raises TooMuch for more than ``most`` bytes.
        """
        if len(items) != 1:
            return _changes(items, seq, most)
        (item,) = items
        notes = item.notes
        if not notes or notes[-1].seq <= seq:
            return [], 0
        if item.subscriptions:  # others hold it: some may come back, too
            return self._shared(item, notes[-1], seq, most)
        return _changes_of_one(item, seq, most)

    def _shared(self, item: Item, newest: Note, seq: int, most: int) -> tuple[Any, int]:
        told = self._kept.get(item.id)
        if told is None or told.newest is not newest or not told.after <= seq < told.before:
            changes, size = _changes_of_one(item, seq, most)
            after, before = _bounds(item, seq)
            told = Told(after, before, newest, changes, size)
            self._keep(item.id, told)
        elif told.size > most:
            raise TooMuch
        return told.changes, told.size

    def _keep(self, number: int, told: Told) -> None:
        before = self._kept.pop(number, None)
        self._kept_bytes += told.size - (0 if before is None else before.size)
        self._kept[number] = told
        while self._kept_bytes > self._most:
            self._kept_bytes -= self._kept.popitem(last=False)[1].size


def _bounds(item: Item, seq: int) -> tuple[int, int]:
    """All who come back from the first of these or later, before the second, missed the same."""
    before = 0
    for note in reversed(item.notes):
        if note.seq <= seq:
            return note.seq, before
        before = note.seq
    return item.known_from, before


def _changes_of_one(item: Item, seq: int, most: int) -> tuple[msgspec.Raw, int]:
    """The same for one item, as JSON at once: this is what most are told."""
    changes, size = [], 0
    for note in reversed(item.since(seq)):
        place, row = note.place, note.row
        model = encode(place.model)
        if row is None:
            size += CHANGE_BYTES
            changes.append(_OUT % (model, place.key, item.id))
        else:
            size += CHANGE_BYTES + len(row)
            changes.append(_IN % (model, place.key, row.narrowed(item.fields), item.id))
        if size > most:
            raise TooMuch
    return msgspec.Raw(b"[%b]" % b",".join(changes)), size


def _changes(items: tuple[Item, ...], seq: int, most: int) -> tuple[list[Any], int]:
    rows: dict[Any, list[tuple[Item, Note]]] = {}
    for item in items:
        for note in reversed(item.since(seq)):
            place = note.place
            rows.setdefault((place.model, place.identity, item.fields), []).append((item, note))
    changes, size = [], 0
    for notes in rows.values():
        kept = _newest_row(notes)
        size += CHANGE_BYTES + (0 if kept is None else len(kept))
        if size > most:
            raise TooMuch
        ins = [item for item, note in notes if note.row is not None]
        outs = [item for item, note in notes if note.row is None]
        changes.append(change_json(notes[0][1].place, kept, ins, outs))
    return changes, size


def _newest_row(notes: list[tuple[Item, Note]]) -> KeptRow | None:
    newest: Note | None = None
    for _, note in notes:
        if note.row is not None and (newest is None or note.seq > newest.seq):
            newest = note
    return None if newest is None else newest.row
