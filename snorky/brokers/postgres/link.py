"""One connection to PostgreSQL: every statement ends in time, or the connection does."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snorky.brokers import BrokerUnavailable

Statement = tuple[str, Sequence[Any]]

DEFAULTS = {
    "application_name": "snorky",
    "target_session_attrs": "read-write",  # of several servers, the one that takes writes
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

# A plan that is made once serves for good: tables that are emptied now and then have no statistics
# to go by, and every statement has an index.
SETTINGS = """
SET search_path = pg_catalog, pg_temp;
SET statement_timeout = '60s';
SET tcp_user_timeout = '30s';
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
SET max_parallel_workers_per_gather = 0;
SET idle_in_transaction_session_timeout = '60s';
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET plan_cache_mode = force_generic_plan;
SET default_transaction_isolation = 'read committed';
SET jit = off;
"""


def address_of(url: str) -> str:
    """Where an address leads, without its password. Raises ValueError where it is none."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise ValueError(f"expected an address as postgresql://HOST/DATABASE ({error})") from None
    host = parts.get("host") or "localhost"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{host}{port}/{parts.get('dbname') or ''}"


class Link:
    """Raises what psycopg raises; ``timeout`` is in seconds."""

    def __init__(self, connection: psycopg.AsyncConnection, timeout: float, address: str) -> None:
        self.address = address
        self._connection = connection
        self._timeout = timeout
        self._heard: set[str] = set()
        connection.add_notify_handler(lambda notification: self._heard.add(notification.payload))
        self.late = False
        """Whether it was cut because something took too long."""
        self.is_busy = False
        """Whether a statement is under way."""

    @classmethod
    async def open(cls, url: str, timeout: float) -> Link:  # noqa: ASYNC109
        parts: dict[str, Any] = {
            **DEFAULTS,
            "connect_timeout": str(max(2, round(timeout))),
            **conninfo_to_dict(url),
        }
        connection = await psycopg.AsyncConnection.connect(make_conninfo(**parts), autocommit=True)
        connection.prepare_threshold = 0
        link = cls(connection, timeout, address_of(url))
        try:
            await link.run_script(SETTINGS)
            if connection.info.server_version >= 170000:
                # A process that is suspended within a group must not hold others up.
                await link.run_script("SET transaction_timeout = '15s'")
        except BaseException:
            await link.close()
            raise
        return link

    @property
    def is_open(self) -> bool:
        return not self._connection.closed

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """One statement in a transaction of its own; returns its rows."""
        with self._in_time():
            cursor = await self._connection.execute(statement, parameters, binary=True)
            return await cursor.fetchall() if cursor.description else []

    async def execute_all(self, statements: Sequence[Statement]) -> list[list[Any]]:
        """Several in one transaction and one exchange; returns the rows of each."""
        if len(statements) == 1:
            return [await self.execute(*statements[0])]
        with self._in_time():
            async with self._connection.pipeline():
                cursors = [
                    await self._connection.execute(statement, parameters, binary=True)
                    for statement, parameters in statements
                ]
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

    async def run_script(self, script: str) -> None:
        """Several statements as text."""
        with self._in_time():
            await self._connection.execute(script, prepare=False)

    async def backend(self) -> int:
        """The process of the server that answers now."""
        with self._in_time():
            cursor = await self._connection.execute("SELECT pg_backend_pid()", prepare=False)
            return int((await cursor.fetchall())[0][0])

    async def wait(self, event: asyncio.Event, seconds: float) -> set[str]:
        """Wait for notifications, the event or the time. Returns what notifications said."""
        if self._heard:
            return self.heard()
        descriptor = self._connection.fileno()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, event.set)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(descriptor)
        return self.heard()

    def heard(self) -> set[str]:
        """What notifications said that have come since the last call."""
        connection = self._connection.pgconn
        connection.consume_input()
        while notification := connection.notifies():
            self._heard.add(notification.extra.decode())
        heard, self._heard = self._heard, set()
        return heard

    async def close(self) -> None:
        await self._connection.close()

    def cut(self) -> None:
        """End the connection under whoever waits for it. Cancelling would wait for the server."""
        try:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error):
            pass

    def _cut_late(self) -> None:
        self.late = True
        self.cut()

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        timer = asyncio.get_running_loop().call_later(self._timeout, self._cut_late)
        self.is_busy = True
        try:
            yield
        except psycopg.Error as error:
            if self.late:
                raise BrokerUnavailable(f"no answer within {self._timeout:g} seconds") from error
            raise
        finally:
            self.is_busy = False
            timer.cancel()
