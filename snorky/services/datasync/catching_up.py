"""What those who come back have missed: every row touched since, as it is now.

Many who come back missed the same: what it is as JSON is made once for them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

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


class Told:
    """What all are told of an item who come back from ``after`` or later, before ``before``.

    ``seq`` is one of these entries. Raises TooMuch.
    """

    __slots__ = ("_changes", "_newest", "after", "before", "size")

    def __init__(self, item: Item, seq: int, most: int) -> None:
        self.after, self.before = _bounds(item, seq)
        self.size = 0
        self._newest = next(reversed(item.notes))
        self._changes: dict[tuple[str, Any], bytes] = {}
        for note in reversed(item.since(seq)):
            self._add(item, note)
            if self.size > most:
                raise TooMuch

    def go_on(self, item: Item) -> bool:
        """Add what was noted since. Returns False where that does not continue this."""
        newer: list[Note] = []
        newest = self._newest
        for note in reversed(item.notes):
            if note is newest:
                break
            if note.seq < newest.seq:
                return False
            newer.append(note)
        else:
            return False
        for note in reversed(newer):
            self._add(item, note)
        self._newest = next(reversed(item.notes))
        return True

    @property
    def changes(self) -> msgspec.Raw:
        return msgspec.Raw(b"[%b]" % b",".join(self._changes.values()))

    def _add(self, item: Item, note: Note) -> None:
        place, row = note.place, note.row
        model = encode(place.model)
        if row is None:
            change = _OUT % (model, place.key, item.id)
        else:
            change = _IN % (model, place.key, row.narrowed(item.fields), item.id)
        identity = place.model, place.identity
        before = self._changes.pop(identity, None)
        if before is not None:
            self.size -= len(before) + CHANGE_BYTES // 2
        self._changes[identity] = change
        self.size += len(change) + CHANGE_BYTES // 2  # the other half is in its text


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
        # Where others hold it, some may come back, too.
        told = self._shared(item, seq, most) if item.subscriptions else Told(item, seq, most)
        return told.changes, told.size

    def _shared(self, item: Item, seq: int, most: int) -> Told:
        told = self._kept.pop(item.id, None)
        if told is not None:
            self._kept_bytes -= told.size
        if told is None or not told.after <= seq < told.before or not told.go_on(item):
            told = Told(item, seq, most)
        if told.size > most:
            raise TooMuch
        self._kept[item.id] = told
        self._kept_bytes += told.size
        while self._kept_bytes > self._most:
            self._kept_bytes -= self._kept.popitem(last=False)[1].size
        return told


def _bounds(item: Item, seq: int) -> tuple[int, int]:
    """All who come back from the first of these or later, before the second, missed the same."""
    before = 0
    for note in reversed(item.notes):
        if note.seq <= seq:
            return note.seq, before
        before = note.seq
    return item.known_from, before


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
