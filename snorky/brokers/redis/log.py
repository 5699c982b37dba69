"""A log on a stream: appended to by a script in one step, followed over a connection of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any
from urllib.parse import quote

from redis.asyncio.connection import Connection
from redis.exceptions import RedisError

from snorky.brokers.connecting import Pause, failed, is_closed, unavailable
from snorky.brokers.log import (
    UNCHANGED,
    Append,
    Entry,
    EntryTooLarge,
    FenceOld,
    Lease,
    LeaseHeld,
    Position,
    Retention,
    Unchanged,
)
from snorky.brokers.redis import scripts
from snorky.brokers.redis.link import Link
from snorky.brokers.redis.pipe import LOST
from snorky.brokers.window import Window
from snorky.log import snorky_log
from snorky.wire import decode, encode

BLOCK_SECONDS = 1.0
"""How long the server lets us wait for an entry; then we look whether the log is the same."""

LOOK_EVERY = 5.0
"""Seconds after which we look although entries come."""

ENTRIES_PER_READ = 64

ASK_AGAIN = 1.0
"""Seconds after which who waits for a pass looks by himself: the word of it may be lost."""


class RedisLog(Window):
    """Made by its broker. What is not answered at once is under way."""

    def __init__(self, link: Link, prefix: str, name: str, retention: Retention) -> None:
        super().__init__(Position("", 0, ""), retention)
        self._link = link
        self._name = name
        base = f"{prefix}{{{quote(name, safe=':/')}}}:"
        self._keys = [(base + key).encode() for key in scripts.KEYS]
        self._asked_channel = (base + "asked").encode()
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told: Position | None = None
        """The newest position that was answered to somebody here."""
        self._confirmed = monotonic()

    @property
    def lag(self) -> float:
        since = monotonic() - self._confirmed
        return 0.0 if since < 2 * BLOCK_SECONDS else since

    async def start(self) -> None:
        if self._task is not None:
            return
        try:
            connection = await self._link.connect_for(self._keys[0])
            try:
                async with asyncio.timeout(self._link.seconds):
                    await self._load(connection)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
        except LOST as error:
            raise unavailable(error) from error
        subscribed = self._link.receive(self._asked_channel, self._somebody_asked, bytes)
        self._task = asyncio.create_task(self._follow(connection))
        if subscribed is not None:
            await subscribed

    async def stop(self) -> None:
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        await asyncio.wait([task])
        self._link.receive_no_more(self._asked_channel, self._somebody_asked)

    def newest(self) -> Awaitable[Position]:
        if self._task is None:
            return failed(unavailable("the log was not started"))

        def answered(answer: Any) -> Position:
            epoch, seq, nonce = answer
            if epoch is None:
                return self.head  # it is about to begin anew
            return Position(epoch.decode(), int(seq), nonce.decode())

        key = self._keys[0]
        return self._link.call(key, answered, "HMGET", key, "epoch", "seq", "nonce")

    # Appending

    def append(
        self,
        data: Any,
        key: str | None = None,
        source: str | None = None,
        fence: str | None = None,
        *,
        keep: float = 0.0,
    ) -> Awaitable[Position]:
        def answered(answer: Any) -> Position:
            return self._positions(answer)[0]

        return self._append([Append(data, key)], source, fence, answered, keep=keep)

    def append_step(
        self, entries: Sequence[Append], source: str, fence: str | None, place: Any = UNCHANGED
    ) -> Awaitable[list[Position]]:
        return self._append(entries, source, fence, self._positions, place)

    def kept_beside(self) -> Sequence[Entry] | Awaitable[Sequence[Entry]]:
        if self._task is None:
            return ()

        return self._call(scripts.BESIDE, _beside)

    def take_lease(self, source: str, seconds: float, fence: str | None = None) -> Awaitable[Lease]:
        new = secrets.token_hex(12)

        def answered(answer: Any) -> Lease:
            if answer[0] == b"held":
                raise LeaseHeld(source)
            return Lease(new, None if answer[1] is None else decode(answer[1]))

        return self._call(
            scripts.TAKE_LEASE, answered, _source(source), _ms(seconds), new, fence or ""
        )

    def renew_lease(self, source: str, fence: str) -> Awaitable[None]:
        def answered(answer: Any) -> None:
            self._positions(answer)

        return self._append([], source, fence, answered)

    def leases(self) -> Awaitable[Mapping[str, float]]:
        def answered(answer: Any) -> dict[str, float]:
            pairs = zip(answer[::2], answer[1::2], strict=True)
            return {source.decode()[1:]: int(left) / 1000 for source, left in pairs}

        return self._call(scripts.LEASES, answered)

    def ask(self, source: str) -> Awaitable[int]:
        def answered(count: int) -> int:
            self._link.send(self._asked_channel, b"")
            return count

        return self._call(scripts.ASK, answered, _source(source), 1)

    def asked(
        self,
        source: str,
        more_than: int,
        timeout: float,
    ) -> Awaitable[int]:
        return self._link.under_way(self._wait_for_asking(source, more_than, timeout))

    async def _wait_for_asking(self, source: str, more_than: int, seconds: float) -> int:
        ends = monotonic() + seconds
        while True:
            asked = self._asked
            count: int = await self._call(scripts.ASK, int, _source(source), 0)
            left = ends - monotonic()
            if count > more_than or left <= 0:
                return count
            try:
                async with asyncio.timeout(min(left, ASK_AGAIN)):
                    await asked.wait()
            except TimeoutError:
                pass

    def _somebody_asked(self, message: bytes) -> None:
        self._asked.set()
        self._asked = asyncio.Event()

    def _append(
        self,
        entries: Sequence[Append],
        source: str | None,
        fence: str | None,
        answered: Callable[[Any], Any],
        place: Any = UNCHANGED,
        keep: float = 0.0,
    ) -> Awaitable[Any]:
        retention = self._retention
        arguments: list[Any] = [_source(source), fence or ""]
        if fence == "":
            raise FenceOld(source)  # it was never given out
        placed = not isinstance(place, Unchanged)
        arguments += [int(placed), encode(place) if placed else "", _ms(keep)]
        arguments += [retention.bytes, _ms(retention.seconds)]
        arguments += [2**53 if retention.entries is None else retention.entries]
        for entry in entries:
            text = encode(entry.data)
            if retention.entry_bytes is not None and len(text) > retention.entry_bytes:
                raise EntryTooLarge(f"expected entries of at most {retention.entry_bytes} bytes")
            key = "" if entry.key is None else f"k{entry.key}"
            arguments += [key.encode("utf-8", "surrogatepass"), secrets.token_hex(4), text]
        return self._call(scripts.APPEND, answered, *arguments)

    def _positions(self, answer: Any) -> list[Position]:
        kind = answer[0]
        if kind == b"fence":
            raise FenceOld("expected the newest fence of the source")
        if kind == b"full":
            raise OverflowError("too many entries are kept beside the log already")
        epoch, positions = answer[1].decode(), []
        for known in answer[2:]:
            seq, nonce = known.decode().split(" ")
            positions.append(Position(epoch, int(seq), nonce))
            if self._told is None or self._told.epoch != epoch or self._told.seq < int(seq):
                self._told = positions[-1]
        return positions

    def _call(self, script: str, convert: Callable[[Any], Any], *arguments: Any) -> Awaitable[Any]:
        if self._task is None:
            return failed(unavailable("the log was not started"))
        return self._link.run_script(
            script, self._keys, [secrets.token_hex(8), *arguments], convert
        )

    # Following

    async def _follow(self, connection: Connection | None) -> None:
        pause = Pause()
        while True:
            try:
                if connection is None:
                    connection = await self._link.connect_for(self._keys[0])
                    await self._within(self._look(connection))
                pause.reset()
                await self._read_entries(connection)
            except LOST as error:
                self._link.changed(self, error)
            except Exception as error:
                if is_closed(error):
                    self._link.changed(self, error)
                else:
                    snorky_log.exception('Unhandled exception while following log "%s"', self._name)
            finally:
                if connection is not None:
                    await connection.disconnect(nowait=True)
                    connection = None
            await pause.wait()

    async def _read_entries(self, connection: Connection) -> None:
        looked = monotonic()
        self._link.changed(self, None)
        while True:
            entries = await self._within(self._next(connection), BLOCK_SECONDS)
            now = monotonic()
            if len(entries) < ENTRIES_PER_READ:
                self._confirmed = now
            if not entries or now - looked > LOOK_EVERY or not self._continues(entries[0]):
                await self._within(self._look(connection))
                looked = monotonic()
            for entry, before in entries:
                if self._continues((entry, before)):
                    self.push(entry)

    async def _next(self, connection: Connection) -> list[tuple[Entry, str]]:
        await connection.send_command(
            *("XREAD", "COUNT", ENTRIES_PER_READ, "BLOCK", round(BLOCK_SECONDS * 1000)),
            *("STREAMS", self._keys[1], f"{self.head.seq}-0"),
        )
        answer: Any = await connection.read_response()
        return [] if not answer else [self._entry(*each) for each in answer[0][1]]

    def _entry(self, id_: bytes, fields: list[bytes]) -> tuple[Entry, str]:
        """An entry, and the nonce of the one before it."""
        _, text, _, nonce, _, before, _, at = fields
        position = Position(self.head.epoch, int(id_.partition(b"-")[0]), nonce.decode())
        return Entry(position, text, int(at) / 1000), before.decode()

    def _continues(self, found: tuple[Entry, str]) -> bool:
        entry, before = found
        seq = entry.position.seq
        told = self._told
        if told is not None and told.seq == seq and told.nonce != entry.position.nonce:
            return told.epoch != self.head.epoch
        return (seq, before) == (self.head.seq + 1, self.head.nonce)

    async def _look(self, connection: Connection) -> None:
        """See whether the log continues what we know of it. If not, begin anew at its head."""
        known, told = self.head, self._told
        if told is not None and told.epoch == known.epoch and told.seq > known.seq:
            known = told
        state, head = await self._ask_for_head(connection, known)
        if state == "same" and known is told:
            state, head = await self._ask_for_head(connection, self.head)
        if state != "same":
            snorky_log.warning(
                'Log "%s" does not continue (%s): its lists are fetched again',
                self._name,
                "entries were lost, or it was begun anew" if state == "other" else "too far behind",
            )
            self._told = None
            beside = await self._run(connection, scripts.BESIDE)
            self.restart(head, _beside(beside))

    async def _ask_for_head(self, connection: Connection, known: Position) -> tuple[str, Position]:
        answer = await self._run(connection, scripts.LOOK, known.epoch, known.seq, known.nonce)
        state, epoch, seq, nonce = answer
        return state.decode(), Position(epoch.decode(), int(seq), nonce.decode())

    async def _load(self, connection: Connection) -> None:
        """Read what the log keeps, up to its head."""
        _, head = await self._ask_for_head(connection, Position("", 0, ""))
        self._head = head  # whose epoch entries get
        entries: list[tuple[Entry, str]] = []
        start = "-"
        while True:
            await connection.send_command(
                "XRANGE", self._keys[1], start, f"{head.seq}-0", "COUNT", ENTRIES_PER_READ
            )
            answer: Any = await connection.read_response()
            entries += [self._entry(*each) for each in answer]
            if len(answer) < ENTRIES_PER_READ:
                break
            start = f"({entries[-1][0].position.seq}-0"
        if entries and entries[-1][0].position != head:
            raise RedisError("the log was begun anew while it was read")
        first = head
        if entries:
            oldest, before = entries[0]
            first = Position(head.epoch, oldest.position.seq - 1, before)
        self.fill(first, [entry for entry, _ in entries], head)
        self._confirmed = monotonic()

    async def _run(self, connection: Connection, script: str, *arguments: Any) -> Any:
        proposed = secrets.token_hex(8)  # the epoch, if there is no log
        await connection.send_command(
            "EVAL", script, len(self._keys), *self._keys, proposed, *arguments
        )
        return await connection.read_response()

    async def _within(self, work: Awaitable[Any], seconds: float = 0.0) -> Any:
        async with asyncio.timeout(seconds + self._link.seconds):
            return await work


def _beside(answer: Any) -> list[Entry]:
    epoch, flat = answer[0].decode(), answer[1]
    entries = []
    for seq, kept in zip(flat[::2], flat[1::2], strict=True):
        nonce, at, text = kept.split(b" ", 2)
        entries.append(Entry(Position(epoch, int(seq), nonce.decode()), text, int(at) / 1000))
    return sorted(entries, key=lambda entry: entry.position.seq)


def _source(source: str | None) -> bytes:
    return b"" if source is None else f"s{source}".encode("utf-8", "surrogatepass")


def _ms(seconds: float) -> int:
    return round(min(seconds, 10**9) * 1000)
