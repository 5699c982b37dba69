"""PostgreSQL as the engine: a Django team has one already, and wants no second server.

Everything is in tables of one schema. A process has two connections: one writes, in groups, and
one reads, woken where it sleeps.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from time import monotonic
from typing import Any

import psycopg

from snorky.brokers import Broker, BrokerUnavailable, Deliver, Retention
from snorky.brokers.connecting import Pause, fail, failed, unavailable
from snorky.brokers.postgres.link import Link, address_of
from snorky.brokers.postgres.log import KEYS, PostgresLog
from snorky.brokers.postgres.reader import Reader
from snorky.brokers.postgres.schema import check_name, prepare
from snorky.brokers.postgres.writer import MAX_WAITING, TOO_MUCH, Writer
from snorky.envelope import Envelope
from snorky.log import snorky_log
from snorky.wire import decode, encode

__all__ = ["PostgresBroker"]

LOST = (psycopg.Error, OSError, BrokerUnavailable)
"""What ends a connection."""

TRIM_EVERY, SWEEP_EVERY = 5.0, 60.0
"""Seconds between two looks for entries, and for keys, whose time has ended."""

TRIMMED_AT_ONCE = 5000


class PostgresBroker(Broker):
    """Joins the processes that name the same database and schema.

    ``url`` is ``postgresql://USER@HOST/DATABASE``, or what else libpq takes, several hosts
    included: the one that takes writes is used. It must lead to the server, or through a pooler
    in session mode. ``make_schema``: make or upgrade the schema at the start; else it must be
    there. ``timeout``: seconds after which a server that does not answer is away.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "snorky",
        make_schema: bool = True,
        timeout: float = 5.0,
    ) -> None:
        self.address = address_of(url)
        self._url = url
        self._schema = check_name(schema)
        self._make_schema = make_schema
        self._timeout = timeout
        self._reader = Reader(schema)
        self._writer = Writer(schema, self._reader.written)
        self._logs: dict[str, PostgresLog] = {}
        self._held: dict[bytes, list[tuple[bytes, asyncio.Future[None]]]] = {}
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"PostgresBroker({self.address!r})"

    # Publications

    def publish(self, topic: str, payload: Envelope) -> Awaitable[None]:
        name, text = _encoded(topic), payload.text
        held = self._held.get(name)
        if held is None:
            joining = self._reader.joining_to(name)
            if joining is None:
                return self._writer.publish(name, text)
            # Who subscribed before it in this process receives it.
            held = self._held[name] = []
            joining.add_done_callback(lambda _: self._publish_held(name))
        if len(held) >= MAX_WAITING:
            return failed(unavailable(TOO_MUCH))
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        held.append((text, answer))
        return answer

    def _publish_held(self, topic: bytes) -> None:
        for text, answer in self._held.pop(topic):
            self._writer.publish(topic, text, answer)

    def subscribe(self, topic: str, deliver: Deliver) -> Awaitable[None]:
        return self._reader.subscribe(_encoded(topic), deliver)

    def unsubscribe(self, topic: str, deliver: Deliver) -> None:
        self._reader.unsubscribe(_encoded(topic), deliver)

    def log(self, name: str, retention: Retention | None = None) -> PostgresLog:
        log = self._logs.get(name)
        if log is None:
            log = PostgresLog(
                name,
                self._schema,
                self._writer,
                self._reader,
                retention or Retention(),
                lambda: self._logs.pop(name, None),
            )
            self._logs[name] = log
        return log

    # What processes share

    def claim(self, key: str, ttl: float) -> Awaitable[bool]:
        return self._keep(
            "INSERT INTO {schema}.kept AS known (key, value, ends) "
            "VALUES (%b, 'true', clock_timestamp() + make_interval(secs => %b)) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends "
            "WHERE known.ends <= clock_timestamp() OR known.value = 'null' RETURNING 1",
            key,
            (float(ttl),),
            bool,
        )

    def put(self, key: str, value: Any, ttl: float) -> Awaitable[None]:
        text = encode(value)
        return self._keep(
            "INSERT INTO {schema}.kept (key, value, ends) "
            "VALUES (%b, %b, clock_timestamp() + make_interval(secs => %b)) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends = excluded.ends",
            key,
            (text, float(ttl)),
            lambda rows: None,
            len(text),
        )

    def get(self, key: str) -> Awaitable[Any]:
        return self._keep(
            "SELECT value FROM {schema}.kept WHERE key = %b AND ends > clock_timestamp()",
            key,
            (),
            lambda rows: decode(rows[0][0]) if rows else None,
        )

    def delete(self, key: str) -> Awaitable[None]:
        return self._keep("DELETE FROM {schema}.kept WHERE key = %b", key, (), lambda rows: None)

    def _keep(
        self, statement: str, key: str, parameters: tuple[Any, ...], read: Any, size: int = 0
    ) -> Awaitable[Any]:
        name = _encoded(key)
        return self._writer.submit(
            statement.format(schema=self._schema),
            (name, *parameters),
            read,
            order=(KEYS, name),
            size=size,
        )

    # Its life

    async def start(self) -> None:
        """Raises BrokerUnavailable where the server cannot be reached, or is not as it must be."""
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader.begin_anew()
        self._task = asyncio.create_task(self._run(connected))
        try:
            await connected
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._task is None:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._writer.drain()
        except TimeoutError:
            pass
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        for log in tuple(self._logs.values()):
            await log.stop()

    async def check(self) -> None:
        topic = f"snorky check {secrets.token_hex(8)}"
        came = asyncio.Event()

        def deliver(envelope: Envelope) -> None:
            came.set()

        try:
            async with asyncio.timeout(self._timeout):
                await self.subscribe(topic, deliver)
                try:
                    await self.publish(topic, Envelope("", None))
                    await came.wait()
                finally:
                    self.unsubscribe(topic, deliver)
        except TimeoutError as error:
            raise unavailable(f"no message came back in {self._timeout:g} seconds") from error

    async def _run(self, connected: asyncio.Future[None]) -> None:
        pause = Pause()
        while True:
            began = monotonic()
            try:
                links = await self._connect()
            except LOST as error:
                fault: Exception = error
            else:
                self._writer.is_open = True
                if connected.done():
                    snorky_log.info("The broker %s is back", self.address)
                else:
                    connected.set_result(None)
                fault = await self._use(links)
                snorky_log.warning("The broker %s is away: %s", self.address, fault)
            if not connected.done():
                fail(connected, unavailable(fault))
                return
            if monotonic() - began > self._timeout:
                pause.reset()
            await pause.wait()

    async def _connect(self) -> tuple[Link, Link]:
        """The connections that read and write. Raises one of LOST."""
        reading = await Link.open(self._url, self._timeout)
        try:
            writing = await Link.open(self._url, self._timeout)
            try:
                await _check_that_sessions_last(reading, writing)
                await prepare(reading, self._schema, make=self._make_schema)
                rows = await reading.execute(f"SELECT {self._schema}.recognise()")
                if not rows[0][0]:
                    snorky_log.error(
                        "The database at %s is not the one it was: it was restored or promoted. "
                        "All logs begin anew, and pages fetch again",
                        self.address,
                    )
                await self._reader.begin(reading)
            except BaseException:
                await writing.close()
                raise
        except BaseException:
            await reading.close()
            raise
        return reading, writing

    async def _use(self, links: tuple[Link, Link]) -> Exception:
        """Returns why they have ended."""
        reading, writing = links
        reader = asyncio.create_task(self._reader.run(reading))
        writer = asyncio.create_task(self._writer.run(writing))
        tidying = asyncio.create_task(self._tidy_up())
        tasks = [reader, writer, tidying]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cut()
            writing.cut()
            tidying.cancel()
            if not writing.is_busy:
                writer.cancel()
            # Whoever is in a statement ends by the cut. Cancelling it would ask the server.
            await asyncio.wait(tasks, timeout=self._timeout)
            await asyncio.gather(*map(_cancelled, tasks))
            await reading.close()
            await writing.close()
        fault = next(iter(done)).exception()
        assert isinstance(fault, Exception)
        if not isinstance(fault, LOST):
            snorky_log.error("Unhandled exception in a broker", exc_info=fault)
        return fault

    async def _tidy_up(self) -> None:
        swept = monotonic()
        while True:
            await asyncio.sleep(TRIM_EVERY)
            for log in self._reader.logs:
                await self._trim(log)
            if monotonic() - swept >= SWEEP_EVERY:
                swept = monotonic()
                await self._writer.submit(
                    f"SELECT {self._schema}.sweep(%b::int[])",
                    ([log.id for log in self._reader.logs],),
                    lambda rows: None,
                    order=(KEYS, b"\xff"),
                )

    async def _trim(self, log: PostgresLog) -> None:
        """Delete what has left our window; all have the same bounds. The first outside stays."""
        log.trim()
        while (above := log.trimmed) < log.first.seq - 1:
            below = min(log.first.seq, above + 1 + TRIMMED_AT_ONCE)
            await self._writer.submit(
                f"DELETE FROM {self._schema}.entries WHERE log = %b AND seq > %b AND seq < %b "
                f"AND EXISTS (SELECT FROM {self._schema}.logs WHERE id = %b AND epoch = %b)",
                (log.id, above, below, log.id, log.first.epoch),
                lambda rows: None,
                order=(KEYS, b""),
            )
            if log.trimmed == above:  # else it began anew meanwhile
                log.trimmed = below - 1


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _check_that_sessions_last(reading: Link, writing: Link) -> None:
    """Raises BrokerUnavailable behind a pooler that gives a session away between transactions."""
    before = await reading.backend()
    await writing.run_script("BEGIN")
    other, after = await writing.backend(), await reading.backend()
    await writing.run_script("COMMIT")
    if before != after or other == before:
        raise BrokerUnavailable(
            f"{reading.address} is a pooler in transaction mode; the broker needs the address of "
            "PostgreSQL itself, or a pooler in session mode"
        )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
