"""A log in PostgreSQL: appended by the writer, followed by the reader of its broker."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from snorky.brokers import BrokerUnavailable
from snorky.brokers.connecting import failed, unavailable
from snorky.brokers.log import (
    KEYS_PER_SOURCE,
    MAX_KEPT_BESIDE,
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
from snorky.brokers.postgres.writer import Writer
from snorky.brokers.window import Window
from snorky.wire import decode, encode

Row = tuple[int, str, float, bytes]
"""Sequence, nonce, time and text of an entry."""

OK, BEHIND, LOST = "ok", "behind", "lost"

LOGS, KEYS = 0, 1
"""In which order a group locks."""


BESIDE = (
    "SELECT epoch, seq, nonce, at, text FROM {schema}.beside JOIN {schema}.logs ON id = log "
    "WHERE log = %b AND seq <= %b AND ends > clock_timestamp() ORDER BY seq"
)


class Reader(Protocol):
    """Who reads for the logs of a process."""

    @property
    def lag(self) -> float: ...
    async def follow(self, log: PostgresLog) -> None: ...
    def leave(self, log: PostgresLog) -> None: ...
    def asked(self, log: int, source: bytes, more_than: int) -> asyncio.Future[int]: ...


class PostgresLog(Window):
    """``id`` is its row's, while it is followed; ``schema`` where it is."""

    def __init__(
        self,
        name: str,
        schema: str,
        writer: Writer,
        reader: Reader,
        retention: Retention,
        stopped: Callable[[], Any],
    ) -> None:
        super().__init__(Position("", 0, ""), retention)
        self.name = name
        self.retention = retention
        self.id = 0
        self.trimmed = 0
        self.promised: Position | None = None
        """The newest position that was answered here."""
        self._schema = schema
        self._writer = writer
        self._reader = reader
        self._stopped = stopped

    @property
    def lag(self) -> float:
        return self._reader.lag

    async def start(self) -> None:
        if not self.id:
            await self._reader.follow(self)

    async def stop(self) -> None:
        self._reader.leave(self)
        self._stopped()

    def newest(self) -> Awaitable[Position]:
        return self._submit(
            "SELECT epoch, coalesce(seq, 0), coalesce(nonce, '') FROM {schema}.logs "
            "LEFT JOIN LATERAL (SELECT seq, nonce FROM {schema}.entries WHERE log = logs.id "
            "ORDER BY seq DESC LIMIT 1) AS newest ON true WHERE id = %b",
            (self.id,),
            lambda rows: Position(*rows[0]),
        )

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
        return self._append([Append(data, key)], source, fence, UNCHANGED, keep, _only)

    def append_step(
        self, entries: Sequence[Append], source: str, fence: str | None, place: Any = UNCHANGED
    ) -> Awaitable[list[Position]]:
        return self._append(entries, source, fence, place, 0.0, list)

    def _append(
        self,
        entries: Sequence[Append],
        source: str | None,
        fence: str | None,
        place: Any,
        keep: float,
        answer: Any,
    ) -> Awaitable[Any]:
        texts = [encode(entry.data) for entry in entries]
        most = self.retention.entry_bytes
        if most is not None and any(len(text) > most for text in texts):
            raise EntryTooLarge(f"expected entries of at most {most} bytes")
        sets_place = not isinstance(place, Unchanged)

        def read(rows: list[Any]) -> Any:
            outcome, epoch, seqs, nonces = rows[0]
            _check(outcome, source)
            positions = [Position(epoch, *each) for each in zip(seqs, nonces, strict=True)]
            self._promise(positions)
            return answer(positions)

        return self._submit(
            "SELECT * FROM {schema}.append(%b, %b, %b::bytea, %b::bytea[], %b::text[], "
            "%b::bytea[], %b, %b::bytea, %b, %b, %b, %b)",
            (
                self.id,
                _bytes_of(source),
                _encoded(fence),
                [_encoded(entry.key) for entry in entries],
                [secrets.token_hex(4) for _ in entries],
                texts,
                time.time(),
                encode(place) if sets_place else None,
                sets_place,
                float(keep),
                MAX_KEPT_BESIDE,
                KEYS_PER_SOURCE,
            ),
            read,
            size=sum(map(len, texts)),
        )

    def kept_beside(self) -> Sequence[Entry] | Awaitable[Sequence[Entry]]:
        if not self.id:
            return []
        return self._submit(BESIDE, (self.id, 2**62), entries_of)

    # Leases

    def take_lease(self, source: str, seconds: float, fence: str | None = None) -> Awaitable[Lease]:
        old, fence = fence, secrets.token_hex(12)

        def read(rows: list[Any]) -> Lease:
            taken, place = rows[0]
            if not taken:
                raise LeaseHeld(source)
            return Lease(fence, None if place is None else decode(place))

        return self._submit(
            "SELECT * FROM {schema}.take_lease(%b, %b, %b, %b, %b)",
            (self.id, _bytes_of(source), fence.encode(), float(seconds), _encoded(old)),
            read,
        )

    def renew_lease(self, source: str, fence: str) -> Awaitable[None]:
        def read(rows: list[Any]) -> None:
            if not rows:
                raise FenceOld(source)

        return self._submit(
            "UPDATE {schema}.sources SET lease_ends = "
            "clock_timestamp() + make_interval(secs => lease_seconds) "
            "WHERE log = %b AND source = %b AND fence = %b RETURNING 1",
            (self.id, _bytes_of(source), _encoded(fence)),
            read,
        )

    def leases(self) -> Awaitable[Mapping[str, float]]:
        return self._submit(
            "SELECT source, extract(epoch FROM lease_ends - clock_timestamp())::double precision "
            "FROM {schema}.sources WHERE log = %b AND lease_ends > clock_timestamp()",
            (self.id,),
            lambda rows: {_text_of(source): seconds for source, seconds in rows},
        )

    def ask(self, source: str) -> Awaitable[int]:
        return self._submit(
            "SELECT {schema}.ask(%b, %b)", (self.id, _bytes_of(source)), lambda rows: rows[0][0]
        )

    def asked(self, source: str, more_than: int, timeout: float) -> Awaitable[int]:
        return asyncio.ensure_future(self._asked(source, more_than, timeout))

    async def _asked(self, source: str, more_than: int, timeout: float) -> int:  # noqa: ASYNC109
        waiting = self._reader.asked(self.id, _bytes_of(source), more_than)
        try:
            async with asyncio.timeout(timeout):
                return await waiting
        except TimeoutError:
            pass
        often: int = await self._submit(
            "SELECT asked FROM {schema}.sources WHERE log = %b AND source = %b",
            (self.id, _bytes_of(source)),
            lambda rows: rows[0][0] if rows else 0,
        )
        return often

    def _submit(
        self, statement: str, parameters: Sequence[Any], read: Any, size: int = 0
    ) -> asyncio.Future[Any]:
        if not self.id:
            return failed(unavailable(f"the log {self.name} was not started"))
        return self._writer.submit(
            statement.format(schema=self._schema),
            parameters,
            read,
            order=(LOGS, self.id),
            size=size,
        )

    def _promise(self, positions: list[Position]) -> None:
        for position in positions:
            promised = self.promised
            if promised is None or (
                promised.epoch != position.epoch or promised.seq < position.seq
            ):
                self.promised = position

    # Following

    def receive(self, epoch: str, rows: Sequence[Row]) -> str:
        """Take what comes from the head on, the head included.

        Returns OK; BEHIND, where what follows has been trimmed; or LOST, where the database does
        not have what it had.
        """
        if not rows and self.head.seq:
            return LOST  # the newest entry is never deleted
        for seq, nonce, at, text in rows:
            head, position = self.head, Position(epoch, seq, nonce)
            if seq == head.seq:
                if nonce != head.nonce:
                    return LOST
            elif seq == head.seq + 1:
                if self.promised is not None and self.promised.seq == seq:
                    if self.promised != position:
                        return LOST
                    self.promised = None
                self.push(Entry(position, text, at))
            else:
                return BEHIND
        return OK

    def begin(self, epoch: str, rows: Sequence[Row]) -> None:
        """Take what is kept, before following."""
        entries = [Entry(Position(epoch, row[0], row[1]), row[3], row[2]) for row in rows]
        first = Position(epoch, 0, "")
        if entries and entries[0].position.seq > 1:
            first = entries.pop(0).position
        head = entries[-1].position if entries else first
        self.fill(first, entries, head)


def entries_of(rows: list[Any]) -> list[Entry]:
    """What ``BESIDE`` found."""
    return [Entry(Position(epoch, seq, nonce), text, at) for epoch, seq, nonce, at, text in rows]


def _only(positions: list[Position]) -> Position:
    return positions[0]


def _check(outcome: str, source: str | None) -> None:
    if outcome == "fence is old":
        raise FenceOld(source)
    if outcome == "too many beside":
        raise OverflowError(f"{MAX_KEPT_BESIDE} entries are kept beside the log already")
    if outcome != "appended":
        raise BrokerUnavailable(f"the database says: {outcome}")


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _bytes_of(source: str | None) -> bytes:
    """A source as it is filed; None is one, and differs from every text."""
    return b"" if source is None else b"=" + source.encode("utf-8", "surrogatepass")


def _text_of(source: bytes) -> str:
    return source[1:].decode("utf-8", "surrogatepass")
