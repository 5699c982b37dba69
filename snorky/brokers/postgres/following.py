"""The logs that a process follows, and those here who wait until a pass is asked for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from snorky.brokers import BrokerUnavailable, Position
from snorky.brokers.postgres.link import Link, Statement
from snorky.brokers.postgres.log import BESIDE, LOST, OK, PostgresLog, Row, entries_of
from snorky.log import printable, snorky_log

ROWS, BYTES = 500, 4 * 1024 * 1024
"""Of each log, that are read at once."""


class Following:
    def __init__(self, schema: str) -> None:
        self._schema = schema
        self.logs: list[PostgresLog] = []

    async def find_again(self, link: Link) -> None:
        """Another connection, perhaps to another database."""
        for log in self.logs:
            log.id, _ = await self._find(link, log)

    def leave(self, log: PostgresLog) -> None:
        if log in self.logs:
            self.logs.remove(log)
        log.id = 0

    # Beginning

    async def open(self, link: Link, log: PostgresLog) -> None:
        """Read what is kept, and follow from there."""
        if log.id:
            return
        log_id, epoch = await self._find(link, log)
        if not log.head.epoch:  # else it was followed before, and goes on
            log.begin(epoch, await self._read_all(link, log_id, epoch))
        log.id = log_id
        self.logs.append(log)

    async def _find(self, link: Link, log: PostgresLog) -> tuple[int, str]:
        name = log.name.encode("utf-8", "surrogatepass")
        rows = await link.execute(
            f"SELECT * FROM {self._schema}.open_log(%b, %b)", (name, float(log.retention.seconds))
        )
        return rows[0][0], rows[0][1]

    async def _read_all(self, link: Link, log_id: int, epoch: str) -> list[Row]:
        kept: list[Row] = []
        while True:
            last = kept[-1][0] if kept else 0
            rows = await link.execute(*self._statement([(log_id, last)]))
            found = [tuple(row[2:]) for row in rows if row[1] == epoch and row[2] is not None]
            if kept and found and found[0][0] == last:
                del found[0]
            elif kept:  # trimmed, or begun anew, while it was read
                kept = []
            if not found:
                return kept
            kept += found

    # Going on

    def statement(self, logs: Sequence[PostgresLog]) -> Statement:
        """Of each log what it has from our head on, the head included."""
        return self._statement([(log.id, log.head.seq) for log in logs])

    def _statement(self, places: list[tuple[int, int]]) -> Statement:
        entries = f"{self._schema}.entries WHERE log = place.log"
        first = f"SELECT total FROM {entries} AND seq > place.seq ORDER BY seq LIMIT 1"
        return (
            "SELECT place.log, logs.epoch, new.seq, new.nonce, new.at, new.text "
            "FROM unnest(%b::int[], %b::bigint[]) AS place (log, seq) "
            f"JOIN {self._schema}.logs ON logs.id = place.log LEFT JOIN LATERAL ("
            f"SELECT seq, nonce, at, text FROM {entries} AND seq >= place.seq "
            f"AND total <= coalesce(({first}) + {BYTES}, {2**63 - 1}) ORDER BY seq LIMIT {ROWS}"
            ") AS new ON true",
            ([log for log, _ in places], [seq for _, seq in places]),
        )

    async def take(
        self,
        link: Link,
        logs: Sequence[PostgresLog],
        rows: list[Any],
        promised: Sequence[Position | None],
    ) -> list[PostgresLog]:
        """Give each log its entries. Returns those of which there is more.

        ``promised``: of each, the newest position that was answered here before it was read.
        """
        epochs: dict[int, str] = {}
        found: defaultdict[int, list[Row]] = defaultdict(list)
        for log_id, epoch, *row in rows:
            epochs[log_id] = epoch
            if row[0] is not None:
                found[log_id].append(tuple(row))
        again = []
        for log, newest in zip(logs, promised, strict=True):
            if not log.id:
                continue  # it was left meanwhile
            if log.id not in epochs:
                raise BrokerUnavailable(f"the log {log.name} has been removed from the database")
            if await self._give(link, log, epochs[log.id], found[log.id], newest):
                again.append(log)
        return again

    async def _give(
        self,
        link: Link,
        log: PostgresLog,
        epoch: str,
        entries: list[Row],
        promised: Position | None,
    ) -> bool:
        """Returns whether there is more."""
        if epoch != log.head.epoch:
            await self._restart(link, log)
            return True
        is_more = len(entries) >= ROWS or sum(len(row[3]) for row in entries) > BYTES // 2
        outcome = log.receive(epoch, entries)
        if outcome == OK and not is_more and promised is not None and promised.epoch == epoch:
            outcome = LOST if promised.seq > log.head.seq else OK
        if outcome == OK:
            return is_more
        snorky_log.error(
            "What is read of the log %s does not continue what was read before: %s",
            printable(log.name),
            "entries were lost" if outcome == LOST else "this process was too far behind",
        )
        if outcome == LOST:
            await link.execute(f"SELECT {self._schema}.renew_log(%b, %b)", (log.id, epoch))
        await self._restart(link, log)
        return True

    async def _restart(self, link: Link, log: PostgresLog) -> None:
        """Begin anew at the newest entry, and tell those who follow."""
        rows = await link.execute(
            f"SELECT epoch, seq, nonce FROM {self._schema}.logs LEFT JOIN LATERAL ("
            f"SELECT seq, nonce FROM {self._schema}.entries WHERE log = id "
            "ORDER BY seq DESC LIMIT 1) AS newest ON true WHERE id = %b",
            (log.id,),
        )
        epoch, seq, nonce = rows[0]
        head = Position(epoch, 0, "") if seq is None else Position(epoch, seq, nonce)
        beside = await link.execute(BESIDE.format(schema=self._schema), (log.id, head.seq))
        log.promised = None
        log.trimmed = 0
        log.restart(head, entries_of(beside))


class Asking:
    """Who waits until a pass is asked for, by log and source."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._waiting: defaultdict[tuple[int, bytes], dict[asyncio.Future[int], int]]
        self._waiting = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, answer: asyncio.Future[int], log: int, source: bytes, more_than: int) -> None:
        """Answer how often it was, as soon as it is more than that."""
        self._waiting[log, source][answer] = more_than
        answer.add_done_callback(lambda _: self._heard(log, source, answer))

    def _heard(self, log: int, source: bytes, answer: asyncio.Future[int]) -> None:
        waiting = self._waiting[log, source]
        waiting.pop(answer, None)
        if not waiting:
            del self._waiting[log, source]

    def statement(self) -> Statement:
        return (
            f"SELECT log, source, asked FROM {self._schema}.sources "
            "JOIN unnest(%b::int[], %b::bytea[]) AS waiting (log, source) USING (log, source)",
            ([log for log, _ in self._waiting], [source for _, source in self._waiting]),
        )

    def take(self, rows: list[Any]) -> None:
        for log, source, often in rows:
            for answer, more_than in self._waiting[log, source].items():
                if often > more_than and not answer.done():
                    answer.set_result(often)

    def give_up(self) -> list[asyncio.Future[int]]:
        return [answer for waiting in self._waiting.values() for answer in waiting]
