"""The change log of a service: what is appended, and what this process does with each entry.

Knows entries, dealers and items. Who opened what, and who is told of anything but changes, is the
business of those who watch (``Watcher``).
"""

from __future__ import annotations

import asyncio
import inspect
import math
import secrets
from bisect import insort
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from operator import itemgetter
from typing import Any, Protocol

from snorky.brokers.log import Append, Entry, Log, Position
from snorky.deltas import Delta, Reset, parse_delta
from snorky.envelope import Envelope
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.services.datasync.delivery import Matching, Publication, Touches
from snorky.services.datasync.directory import Directory
from snorky.services.datasync.folding import Folded, fold
from snorky.services.datasync.items import Crowd, Item, Items, Note
from snorky.services.datasync.line import Line
from snorky.services.datasync.marks import Keys, Resets

MAX_ENTRY_BYTES = 1024 * 1024
"""JSON of the deltas of one entry. What is larger is a reset, sent by whoever publishes."""

MAX_STEP_ENTRIES = 1000
"""Entries of one step of a relay. Its bytes are at most a quarter of what the log keeps."""

MAX_KEY_LENGTH = 200
"""Characters of the key of an entry or a transaction."""

FRAMES_PER_STEP = 16


class Watcher(Protocol):
    """Who is told of what concerns subscriptions, in the order of the log."""

    def models_reset(
        self, models: Collection[str], keyless: Collection[str], dealers: Collection[str]
    ) -> Iterator[None]:
        """All that was shown of these models, or by these dealers, must be fetched again.

        ``keyless`` ones could not be told to pages of the new wire alone.
        """

    def items_touched(self, items: Collection[Item]) -> None:
        """Pages of these items must fetch again: they are told that, not what changed."""

    def entry_appended(self, position: Position, data: Any) -> Iterator[None]:
        """An entry that holds no deltas."""

    def log_lost(self) -> None:
        """What follows does not continue what came before."""

    def log_begun_anew(self, beside: Sequence[Entry]) -> None:
        """The same, and so with positions: ``beside`` is all that is kept of earlier entries."""


class ChangeLog:
    """Entries in, frames out. Everything is done in the order of the log, on ``line``."""

    def __init__(self, name: str, log: Log, directory: Directory) -> None:
        self.name = name
        self.log = log
        self.line = Line(name)
        self.matching = Matching(directory)
        self.processed = log.head
        """The newest entry that was handed to this process's clients."""
        self.watcher: Watcher | None = None
        self.publication: Publication | None = None
        """The delta whose classic matches are being collected, if any."""
        self.classic_subscriptions = 0
        self.items = Items()
        self.resets = Resets()
        self.keys = Keys()
        self._directory = directory
        self._touched: dict[int, list[Item]] = {}
        self._told: set[str] = set()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._appending = False
        log.follow(self._entry_came, self._lost)
        log.on_trim(self._entry_trimmed)

    def begin(self) -> None:
        """The log has been read: what comes from here on is handed out."""
        if not len(self.line):
            self.processed = self.log.head

    # Appending

    def append(
        self, data: Any, key: str | None = None, *, keep: float = 0.0
    ) -> Position | Awaitable[Position]:
        """Append an entry; the position is answered when this process has handed it out."""
        self._appending = True
        try:
            position = self.log.append(data, key, keep=keep)
        finally:
            self._appending = False
        return self._when_processed(position)  # type: ignore[no-any-return]

    def append_step(
        self, step: Sequence[Append], source: str, fence: str, place: Any
    ) -> list[Position] | Awaitable[list[Position]]:
        self._appending = True
        try:
            positions = self.log.append_step(step, source, fence, place)
        finally:
            self._appending = False
        return self._when_processed(positions)  # type: ignore[no-any-return]

    def append_fenced(self, data: Any, source: str, fence: str) -> Position | Awaitable[Position]:
        self._appending = True
        try:
            position = self.log.append(data, None, source, fence)
        finally:
            self._appending = False
        return self._when_processed(position)  # type: ignore[no-any-return]

    def publish(self, deltas: Sequence[Delta], key: str | None = None) -> Any:
        """Append what one transaction did. The same position for a key that came before."""
        data = deltas_data(deltas, () if key is None else (key,))
        if self.publication is not None:
            # A dealer publishes what follows from the delta it is asked about: classic
            # subscriptions hear of that first.
            data["told"] = told = secrets.token_hex(8)
            self._told.add(told)
            for delta in deltas:
                self._publish(delta)
        return self.append(data, key)

    def _when_processed(self, result: Any) -> Any:
        if not inspect.isawaitable(result):
            self.line.advance()
            if self.has_processed(result):
                return result
        return UnderWay(lambda: self._wait_until_processed(result))

    async def _wait_until_processed(self, result: Any) -> Any:
        value = await result if inspect.isawaitable(result) else result
        if not self.has_processed(value):
            await self.reach(_last(value).seq)
        return value

    def has_processed(self, value: Position | list[Position]) -> bool:
        return not value or _last(value).seq <= self.processed.seq

    async def reach(self, seq: int) -> None:
        """Wait until this process has handed out an entry."""
        if seq > self.processed.seq:
            future = asyncio.get_running_loop().create_future()
            insort(self._waiting, (seq, id(future), future))
            await future

    # Entries

    def _entry_came(self, entry: Entry) -> None:
        # The value as it came, where it is at hand: the log keeps the text alone.
        self.line.put(self._entry(entry.position, entry.data))
        if not self._appending:
            self.line.advance()

    def _entry(self, position: Position, data: Any) -> Iterator[None]:
        try:
            if "deltas" in data:
                yield from self._deltas(position, data)
            elif self.watcher is not None:
                yield from self.watcher.entry_appended(position, data)
        except Exception:
            # Pages must not go on as if nothing had been: what they show may be wrong now.
            if self.watcher is not None:
                self.watcher.log_lost()
            raise
        finally:
            self.processed = position
            if self._is_kept(position.seq):
                self.keys.add(position, data.get("keys", ()))
            self._wake(position.seq)

    def _wake(self, seq: float) -> None:
        while self._waiting and self._waiting[0][0] <= seq:
            _, _, future = self._waiting.pop(0)
            if not future.done():
                future.set_result(None)

    def _is_kept(self, seq: int) -> bool:
        # A process that is far behind hands out entries that the log has let go of.
        return seq > self.log.first.seq

    def _deltas(self, position: Position, data: Any) -> Iterator[None]:
        deltas = []
        for delta in data["deltas"]:
            deltas.append(parse_delta(delta))
            yield
        metrics.deltas += len(deltas)
        told = data.get("told")
        if told in self._told:
            self._told.discard(told)
        else:
            for delta in deltas:
                self._publish(delta)
                yield
        if self.watcher is not None and (self.items or _has_reset(deltas)):
            yield from self._tell_pages(position, deltas, data)

    def _publish(self, delta: Delta) -> None:
        """Tell classic subscriptions."""
        dealers = self._directory.by_model.get(delta.model)
        if not dealers or (delta.before is None and delta.after is None):
            return
        publication = Publication(delta)
        outer, self.publication = self.publication, publication
        try:
            for dealer in tuple(dealers):
                if self.classic_subscriptions or not getattr(dealer, "shares_queries", False):
                    publication.ask(dealer)
        finally:
            self.publication = outer
        publication.send()

    def _tell_pages(self, position: Position, deltas: list[Delta], data: Any) -> Iterator[None]:
        assert self.watcher is not None
        seq = position.seq
        refetched: dict[Item, None] = {}
        for delta in deltas:
            refetched.update(dict.fromkeys(self.matching.refetching(delta)))
            yield
        folded, touches = Folded(), Touches()
        for done in self._matched(deltas, data, touches):
            if done is not None:
                folded = done
            yield
        failed = {dealer.name for dealer in touches.failed}
        untold = folded.resets | folded.keyless
        if untold or failed:
            self._log_keyless(folded)
            if self._is_kept(seq):
                self.resets.add(seq, untold, failed)
            yield from self.watcher.models_reset(folded.resets, folded.keyless, failed)
        if touches.by_item:
            self._note(position, touches)
            yield
            yield from self._send(position, touches, data.get("keys"))
        if refetched:
            for item in refetched:
                item.touched = seq
            self.watcher.items_touched(refetched)

    def _note(self, position: Position, touches: Touches) -> None:
        seq = position.seq
        if self._is_kept(seq):
            self._touched[seq] = list(touches.by_item)
            self.log.charge(position, touches.note(seq))
        else:
            for item in touches.by_item:
                item.forget(seq)

    def _matched(self, deltas: list[Delta], data: Any, touches: Touches) -> Iterator[Folded | None]:
        """Fold and match; yields None now and then, at last what was folded."""
        several = bool(data.get("several"))
        for folded in fold(deltas, self._directory.key_of):
            if folded is None:
                yield None
        assert folded is not None
        for number, change in enumerate(folded.changes):
            for dealer in self.matching.dealers_of(change.place.model):
                touches.add(number, change, dealer, self.matching.items_matching, several=several)
            yield None
        yield folded

    def _log_keyless(self, folded: Folded) -> None:
        shown = {model for item in self.items for model in item.models}
        for model in folded.keyless & shown:
            snorky_log.warning(
                'A row of model "%s" came without its key %s in service "%s": its lists are '
                "fetched again",
                printable(model),
                self._directory.key_of(model),
                self.name,
            )

    def _send(self, position: Position, touches: Touches, keys: Any) -> Iterator[None]:
        frames: dict[frozenset[Item], Envelope] = {}
        crowds = touches.crowds()
        for number, (crowd, items) in enumerate(crowds.items()):
            touched = frozenset(items)
            frame = frames.get(touched)
            if frame is None:
                message: dict[str, Any] = {"type": "changes", "position": str(position)}
                if keys:
                    message["keys"] = keys
                message["changes"] = touches.changes(items)
                frame = frames[touched] = Envelope(self.name, message)
            send(crowd, frame, position.seq)
            if number % FRAMES_PER_STEP == 0:
                yield

    # What is kept

    def scan(self, since: Position, items: Collection[Item]) -> Iterator[None]:
        """Note for items that are new here what the entries after ``since`` did to them."""
        models = frozenset[str]().union(*(item.models for item in items))
        found: dict[Item, list[Note]] = {item: [] for item in items}
        # It may have let go of some since they were asked for: those who need them are refused.
        since = max(since, self.log.first, key=itemgetter(1))
        entries = list(self.log.read(since, limit=max(0, self.processed.seq - since.seq)))
        for entry in entries:
            yield
            data = entry.data
            if "deltas" not in data or entry.position.seq > self.processed.seq:
                continue
            deltas = [parse_delta(delta) for delta in data["deltas"]]
            deltas = [delta for delta in deltas if delta.model in models]
            if deltas:
                yield from self._scan(entry.position, deltas, data, found)
        for item, notes in found.items():
            item.prepend(notes, since.seq)
            item.forget(self.log.first.seq)  # what was let go of meanwhile

    def _scan(
        self, position: Position, deltas: list[Delta], data: Any, found: dict[Item, list[Note]]
    ) -> Iterator[None]:
        seq, cost = position.seq, 0
        touches = Touches()
        for folded in self._matched(deltas, data, touches):
            if folded is not None and self._is_kept(seq):
                self.resets.add(
                    seq, folded.resets | folded.keyless, {each.name for each in touches.failed}
                )
            yield
        wanted = [item for item in touches.by_item if item in found and seq <= item.known_from]
        for item, note in touches.notes(seq, wanted):
            found[item].append(note)
            cost += 120 + (0 if note.row is None else len(note.row))
        if wanted and self._is_kept(seq):
            self._touched.setdefault(seq, []).extend(wanted)
            self.log.charge(position, cost)
        for delta in deltas:
            for item in self.matching.refetching(delta):
                item.touched = max(item.touched, seq)

    def _entry_trimmed(self, entry: Entry) -> None:
        seq = entry.position.seq
        for item in self._touched.pop(seq, ()):
            item.forget(seq)
        self.keys.trim(seq)
        self.resets.trim(seq)

    def _lost(self, beside: Sequence[Entry]) -> None:
        self.line.put(self._forget(self.log.head, beside))
        self.line.advance()

    def _forget(self, head: Position, beside: Sequence[Entry]) -> Iterator[None]:
        self.processed = head
        self.keys = Keys()
        self.resets = Resets()
        self._touched.clear()
        self._wake(math.inf)
        if self.watcher is not None:
            self.watcher.log_begun_anew(beside)
        yield


def deltas_data(
    deltas: Iterable[Delta], keys: Iterable[str], *, several: bool = False
) -> dict[str, Any]:
    """The data of an entry. ``several``: it may hold more than one transaction."""
    data: dict[str, Any] = {"deltas": [delta.for_json() for delta in deltas]}
    keys = list(keys)
    if keys:
        data["keys"] = keys
    if several:
        data["several"] = True
    return data


def _has_reset(deltas: Iterable[Delta]) -> bool:
    return any(isinstance(delta, Reset) for delta in deltas)


def send(crowd: Crowd, frame: Envelope, seq: int) -> None:
    crowd.last_seq = seq
    crowd.send(frame)


class UnderWay:
    """What is under way, for those who want to know when it is done; others drop it."""

    def __init__(self, wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._wait = wait

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()


def _last(value: Position | list[Position]) -> Position:
    # A step's keys may have come before: the newest is not always the last.
    return max(value, key=lambda each: each.seq) if isinstance(value, list) else value
