"""What a process writes: in groups, each of them one transaction, by one connection.

While a transaction is under way the next group gathers, so that a busy process writes much at once
and a quiet one waits for nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import psycopg

from snorky.brokers import BrokerUnavailable
from snorky.brokers.connecting import fail
from snorky.brokers.postgres.link import Link
from snorky.log import snorky_log

MAX_WAITING = 20_000
"""Publications, and as many other works, that wait to be written. What is more is refused."""

MAX_WAITING_BYTES = 64 * 1024 * 1024

GROUP = 500
GROUP_BYTES = 4 * 1024 * 1024

SLICE_SECONDS = 10.0
"""How long publications are written to one of three tables, before the oldest is emptied."""

AWAY = "the broker is away"
TOO_MUCH = "more is published than the broker can write"


Written = Callable[[int, list[bytes], list[asyncio.Future[None]]], None]


class Work(NamedTuple):
    """A statement, and who waits for its rows."""

    statement: str
    parameters: Sequence[Any]
    order: tuple[int, Any]
    """Where it stands in its group: all processes lock in one order."""
    size: int
    read: Callable[[list[Any]], Any]
    answer: asyncio.Future[Any]


class Writer:
    """``written`` is told of publications that are committed: the last id, topics and answers."""

    def __init__(self, schema: str, written: Written) -> None:
        self._written = written
        self._publish = f"SELECT {schema}.publish(%b::bytea[], %b::bytea[], %b)"
        self._publications: deque[tuple[bytes, bytes, asyncio.Future[None]]] = deque()
        self._works: deque[Work] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._is_idle = asyncio.Event()
        self.is_open = False
        """Whether something is taken: set it when ``run`` is about to be called."""

    def publish(
        self, topic: bytes, text: bytes, answer: asyncio.Future[None] | None = None
    ) -> Awaitable[None]:
        """Done when it is committed, so that every process will read it, and was read here."""
        answer = self._accept(len(topic) + len(text), len(self._publications), answer)
        if not answer.done():
            self._publications.append((topic, text, answer))
        return answer

    def submit(
        self,
        statement: str,
        parameters: Sequence[Any],
        read: Callable[[list[Any]], Any],
        *,
        order: tuple[int, Any],
        size: int = 0,
    ) -> asyncio.Future[Any]:
        """Execute a statement; answers what ``read`` makes of its rows, or raises."""
        answer = self._accept(size, len(self._works))
        if not answer.done():
            self._works.append(Work(statement, parameters, order, size, read, answer))
        return answer

    def _accept(
        self, size: int, waiting: int, answer: asyncio.Future[Any] | None = None
    ) -> asyncio.Future[Any]:
        if answer is None:
            answer = asyncio.get_running_loop().create_future()
        if not self.is_open:
            fail(answer, BrokerUnavailable(AWAY))
        elif waiting >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            fail(answer, BrokerUnavailable(TOO_MUCH))
        else:
            self._bytes += size
            self._wake.set()
        return answer

    async def run(self, link: Link) -> None:
        """Write until the connection ends; raises why. What waited then is refused."""
        try:
            while True:
                self._wake.clear()
                if not self._publications and not self._works:
                    self._is_idle.set()
                    await self._wake.wait()
                self._is_idle.clear()
                await self._write_publications(link)
                await self._write_works(link)
        finally:
            self.is_open = False
            self._refuse_all()

    async def drain(self) -> None:
        """Take nothing more, and wait until what was taken is written."""
        if self.is_open:
            self.is_open = False
            self._wake.set()
            await self._is_idle.wait()

    async def _write_publications(self, link: Link) -> None:
        topics: list[bytes] = []
        texts: list[bytes] = []
        answers: list[asyncio.Future[None]] = []
        size = 0
        while self._publications and len(topics) < GROUP and size < GROUP_BYTES:
            topic, text, answer = self._publications.popleft()
            size += len(topic) + len(text)
            topics.append(topic)
            texts.append(text)
            answers.append(answer)
        if not topics:
            return
        self._bytes -= size
        try:
            rows = await link.execute(self._publish, (topics, texts, SLICE_SECONDS))
        except BaseException as error:
            _refuse(answers, error)
            if not isinstance(error, psycopg.Error) or not link.is_open:
                raise
            snorky_log.error("PostgreSQL refused publications: %s", error)
        else:
            self._written(rows[0][0], topics, answers)

    async def _write_works(self, link: Link) -> None:
        group: list[Work] = []
        size = 0
        while self._works and len(group) < GROUP and size < GROUP_BYTES:
            work = self._works.popleft()
            size += work.size
            group.append(work)
        if not group:
            return
        self._bytes -= size
        group.sort(key=_order)
        await self._write_group(link, group)

    async def _write_group(self, link: Link, group: list[Work]) -> None:
        try:
            results = await link.execute_all([(each.statement, each.parameters) for each in group])
        except psycopg.Error as error:
            if not link.is_open:
                _refuse([each.answer for each in group], error)
                raise
            # It is as if nothing had happened. Who is to blame must not fail the others.
            if len(group) > 1:
                for work in group:
                    await self._write_group(link, [work])
            else:
                _refuse([group[0].answer], error)
                snorky_log.error("PostgreSQL refused to write for the broker: %s", error)
            return
        except BaseException as error:
            _refuse([each.answer for each in group], error)
            raise
        for work, rows in zip(group, results, strict=True):
            if work.answer.done():
                continue
            try:
                work.answer.set_result(work.read(rows))
            except Exception as refusal:
                fail(work.answer, refusal)

    def _refuse_all(self) -> None:
        answers = itertools.chain(
            (answer for _, _, answer in self._publications), (work.answer for work in self._works)
        )
        _refuse(answers, BrokerUnavailable(AWAY))
        self._publications.clear()
        self._works.clear()
        self._bytes = 0
        self._is_idle.set()


def _order(work: Work) -> tuple[int, Any]:
    return work.order


def _refuse(answers: Any, error: BaseException) -> None:
    for answer in answers:
        refusal = BrokerUnavailable(f"the broker did not take it: {error}")
        refusal.__cause__ = error
        fail(answer, refusal)
