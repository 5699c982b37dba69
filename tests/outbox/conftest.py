"""Databases with an outbox, and a Snorky in the same process whose log can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snorky.backend.outbox import Relay
from tests.outbox.databases import Database, PostgresqlDatabase, SqliteDatabase
from tests.outbox.snorky import RunningRelay, Snorky


@pytest.fixture
def postgresql(postgres_url: str) -> Iterator[PostgresqlDatabase]:
    database = PostgresqlDatabase(postgres_url)
    yield database
    database.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "app.sqlite")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind in turn."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def tasks(database: Database) -> Database:
    """A database with a table ``task`` that has triggers."""
    database.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, n integer)")
    database.install("task")
    return database


@pytest.fixture
def snorky() -> Iterator[Snorky]:
    running = Snorky()
    yield running
    running.close()


@pytest.fixture
def relay(snorky: Snorky) -> Iterator[Callable[..., RunningRelay]]:
    """``relay(database, **options)`` runs one, which ends with the test."""
    running: list[RunningRelay] = []

    def start(database: Database, **options: Any) -> RunningRelay:
        options.setdefault("lease", snorky.lease)
        started = RunningRelay(Relay(database.url, **options), snorky)
        running.append(started)
        return started

    yield start
    for each in running:
        each.stop()
