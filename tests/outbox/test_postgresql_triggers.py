"""Who notifies a relay that sleeps, and which rows triggers of PostgreSQL convert with care."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from snorky.backend.outbox.installation import Condition
from tests.outbox.databases import PostgresqlDatabase, begun, deltas, insert, reset, told

Connection = psycopg.Connection[Any]
FLAG = "SELECT last_value FROM snorky_outbox_asleep"


@pytest.fixture
def tasks(postgresql: PostgresqlDatabase) -> PostgresqlDatabase:
    postgresql.execute("CREATE TABLE task (id integer, title text)")
    postgresql.install("task")
    return postgresql


@pytest.fixture
def other(tasks: PostgresqlDatabase) -> Iterator[Connection]:
    connection = tasks.connect()
    yield connection
    connection.close()


@pytest.fixture
def asleep(tasks: PostgresqlDatabase) -> Iterator[Connection]:
    """Hears what a relay that sleeps would be woken by."""
    connection = tasks.connect()
    connection.execute("LISTEN snorky_outbox")
    tasks.execute("SELECT setval('snorky_outbox_asleep', 1)")
    yield connection
    connection.close()


def heard(listener: Connection) -> int:
    """How many notifications have come: they come with whatever the server says."""
    found: list[object] = []
    listener.add_notify_handler(found.append)
    listener.execute("SELECT 1")
    listener.remove_notify_handler(found.append)
    return len(found)


def add(connection: Any, number: int = 1) -> None:
    connection.execute("INSERT INTO task VALUES (%s, 'a')", (number,))


def test_one_notification_that_was_committed_is_enough(
    tasks: PostgresqlDatabase, asleep: Connection
) -> None:
    for _ in range(3):
        add(tasks.connection)
    assert heard(asleep) == 1
    assert tasks.execute(FLAG) == [(0,)]


def test_whoever_commits_first_notifies(
    tasks: PostgresqlDatabase, other: Connection, asleep: Connection
) -> None:
    other.execute("BEGIN")
    add(other)
    add(other)
    add(tasks.connection)
    assert heard(asleep) == 1
    other.execute("COMMIT")
    assert heard(asleep) == 1
    add(tasks.connection)
    assert heard(asleep) == 0


def test_a_transaction_that_was_rolled_back_has_notified_nobody(
    tasks: PostgresqlDatabase, asleep: Connection
) -> None:
    tasks.execute("BEGIN", "INSERT INTO task VALUES (1, 'a')", "ROLLBACK")
    add(tasks.connection)
    assert heard(asleep) == 1


def test_a_relay_that_is_away_is_notified_once_of_a_full_outbox(
    tasks: PostgresqlDatabase, asleep: Connection
) -> None:
    tasks.install("task", max_outbox_bytes=1000)
    for number in range(20):
        add(tasks.connection, number)
    assert heard(asleep) <= 2
    reader = tasks.reader()
    begun(reader)
    assert deltas(told(reader))[-1] == [reset("task")]
    add(tasks.connection, 99)
    assert deltas(told(reader)) == [[insert("task", id=99, title="a")]]
    assert tasks.execute(FLAG) == [(0,)]


def test_long_text_that_is_compressed_is_a_reset(tasks: PostgresqlDatabase) -> None:
    reader = tasks.reader()
    begun(reader)
    tasks.execute("INSERT INTO task VALUES (1, repeat('x', 300000))")
    tasks.execute(
        "INSERT INTO task SELECT 2, string_agg(md5(g::text), '') FROM generate_series(1, 10000) g"
    )
    assert deltas(told(reader)) == [[reset("task")], [reset("task")]]
    tasks.execute("UPDATE task SET title = 'a' WHERE id = 1")
    assert deltas(told(reader)) == [[reset("task")]]


def test_a_column_that_needs_care_is_named(tasks: PostgresqlDatabase) -> None:
    assert tasks.status().tables[0].notes == [
        "no primary key: the dealers' key must be a column of it"
    ]
    tasks.execute("ALTER TABLE task ADD COLUMN data jsonb")
    (table,) = tasks.status().tables
    assert table.condition is Condition.INSTALLED
    assert "install once more" in table.notes[0]
    tasks.install("task")
    assert "install once more" not in tasks.status().tables[0].notes[0]


def test_times_are_told_in_one_time_zone(postgresql: PostgresqlDatabase) -> None:
    postgresql.execute(
        "CREATE TABLE task (id integer, due timestamptz)", "SET timezone = 'Asia/Tokyo'"
    )
    postgresql.install("task")
    reader = postgresql.reader()
    begun(reader)
    postgresql.execute("INSERT INTO task VALUES (1, '2026-11-28T10:00:00+01:00')")
    assert deltas(told(reader)) == [[insert("task", id=1, due="2026-11-28T09:00:00+00:00")]]
