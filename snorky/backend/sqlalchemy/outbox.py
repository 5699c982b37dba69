"""The outbox of an engine: written by what it executes, drained after its commits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.draining.drainer import Drainer
from snorky.backend.draining.postgresql import PostgreSQLOutbox
from snorky.backend.draining.sqlite import SQLiteOutbox
from snorky.backend.draining.turns import Turns
from snorky.backend.outbox.table import (
    create_postgresql,
    create_sqlite,
    drop_postgresql,
    drop_sqlite,
)
from snorky.backend.sqlalchemy.capture import capture_writes
from snorky.backend.sqlalchemy.models import model_names
from snorky.backend.sqlalchemy.writing import call_after_commit

ANSWER_SECONDS = 6.0  # longer than a wait for openings, shorter than a lease
BLOCKING = {"asyncpg": "psycopg", "aiosqlite": "pysqlite"}
"""What drains in the place of a driver that cannot be used without an event loop."""


class Outbox:
    """Watches an engine, asyncio's or not: PostgreSQL, or a file of SQLite.

    ``url`` and ``key`` are those of Snorky's back end; ``source`` is what it calls this outbox.
    ``drain=False`` leaves telling to a relay. The drainer has a connection of its own, by the
    engine's address, or by ``database`` where that is not to be used for it.
    """

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        url: str,
        key: str,
        *,
        service: str = "datasync_backend",
        source: str = "main",
        drain: bool = True,
        database: str | URL | None = None,
    ) -> None:
        self.engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        if self.engine.dialect.name not in ("postgresql", "sqlite"):
            name = self.engine.dialect.name
            raise ValueError(f"an outbox can be in PostgreSQL and in SQLite, not in {name}")
        self._address = url, key
        self._service = service
        self._source = source
        self._database = self.engine.url if database is None else database
        self.drainer = Drainer(self._turns) if drain else None
        capture_writes(self.engine)
        if self.drainer is not None:
            call_after_commit(self.engine, self.drainer.wake)
        else:
            call_after_commit(self.engine, _nothing)

    def drained(self) -> bool:
        """Wait a little until all that has committed by now was told; False: it was not.

        A relay, where one tells it, passes once more before a page says that it is live.
        """
        return self.drainer is None or self.drainer.drained()

    async def adrained(self) -> bool:
        """The same for the tasks of an event loop."""
        return self.drainer is None or await asyncio.to_thread(self.drainer.drained)

    def close(self) -> None:
        """Drain no more in this process."""
        if self.drainer is not None:
            self.drainer.forget()

    def _turns(self) -> Turns:
        return Turns(self._outbox(), self._connect, self._service, self._source)

    def _connect(self) -> SnorkyBackend:
        url, key = self._address
        return SnorkyBackend(SnorkyHTTPTransport(url, key, timeout=ANSWER_SECONDS))

    def _outbox(self) -> Any:
        if self.engine.dialect.name == "sqlite":
            file = self.engine.url.database
            if not file or file == ":memory:":
                raise ValueError("an outbox can be in a file of SQLite, not in memory")
            return SQLiteOutbox(file, model_names)
        engine = create_engine(_blocking(self._database), poolclass=NullPool)

        @contextmanager
        def transaction() -> Iterator[Any]:
            with engine.begin() as connection:

                def execute(sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
                    result = connection.execute(text(sql), parameters)
                    return [tuple(row) for row in result] if result.returns_rows else []

                yield execute

        return PostgreSQLOutbox(transaction, engine.dispose, model_names)


def create_outbox(connection: Connection) -> None:
    """Make the outbox, in a migration or at the start; what is there already is kept.

    With asyncio: ``await connection.run_sync(create_outbox)``.
    """
    postgresql = connection.dialect.name == "postgresql"
    _execute(connection, create_postgresql(_schema(connection)) if postgresql else create_sqlite())


def drop_outbox(connection: Connection) -> None:
    """Remove what `create_outbox` made."""
    postgresql = connection.dialect.name == "postgresql"
    _execute(connection, drop_postgresql(_schema(connection)) if postgresql else drop_sqlite())


def _schema(connection: Connection) -> str:
    schema: str = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    return schema


def _execute(connection: Connection, statements: list[str]) -> None:
    for statement in statements:
        if connection.dialect.name == "postgresql":
            # Its drivers take % for a parameter.
            statement = statement.replace("%", "%%")
        connection.exec_driver_sql(statement)


def _blocking(address: str | URL) -> URL:
    from sqlalchemy import make_url

    url = make_url(address)
    dialect, _, driver = url.drivername.partition("+")
    return url.set(drivername=f"{dialect}+{BLOCKING[driver]}") if driver in BLOCKING else url


def _nothing() -> None:
    """A relay looks by itself."""
