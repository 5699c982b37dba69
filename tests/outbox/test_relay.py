"""The relay: what one, or its database, or Snorky, may do without anything lost or told twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from snorky.backend.exchange import NoAnswerError
from snorky.backend.outbox import keys
from snorky.backend.outbox import relay as relay_module
from snorky.backend.outbox.reading import Lost
from snorky.backend.outbox.sources import PostgresqlSource
from tests.outbox.databases import Database, PostgresqlDatabase, SqliteDatabase, insert, reset
from tests.outbox.snorky import Killed, RunningRelay, Snorky, wait_until
from tests.patience import patient

StartRelay = Callable[..., RunningRelay]


@pytest.fixture(autouse=True)
def _warnings(expect_log: Any) -> Any:
    yield
    for text in ("The relay tries again", "The relay begins anew", "The relay appends again"):
        expect_log.all(text)


def add(database: Database, *numbers: int) -> None:
    for number in numbers:
        database.execute(f"INSERT INTO task VALUES ({number}, 'a', 0)")


def told(snorky: Snorky) -> list[int]:
    """The numbers of the rows that were inserted, as often as they were told."""
    return [d["data"]["id"] for deltas in snorky.deltas for d in deltas if d["type"] == "insert"]


def test_it_tells_what_is_there_and_what_comes(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    add(tasks, 1)
    relay(tasks).wait_until_ready()
    assert told(snorky) == [1]
    add(tasks, 2)
    wait_until(lambda: told(snorky) == [1, 2])


def test_whoever_waits_for_a_key_is_told(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    relay(tasks).wait_until_ready()
    tasks.execute("BEGIN", "INSERT INTO task VALUES (1, 'a', 0)")
    found = keys(tasks.connection)
    tasks.execute("COMMIT")
    wait_until(lambda: snorky.keys.issuperset(found))


def test_a_pass_ends_soon_after_somebody_asked(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    relay(tasks).wait_until_ready()
    for _ in range(3):
        number = snorky.ask()
        wait_until(lambda number=number: snorky.service.passes.ended("main") >= number)


def test_a_pass_that_ends_began_later(tasks: Database, snorky: Snorky, relay: StartRelay) -> None:
    relay(tasks).wait_until_ready()

    def commit_while_appending(command: str) -> None:
        if command == "appendEntries" and told(snorky)[-1:] == [1]:
            snorky.after = lambda command: None
            add(tasks, 2)
            snorky.asked = snorky.ask()  # type: ignore[attr-defined]

    snorky.after = commit_while_appending
    add(tasks, 1)
    wait_until(lambda: snorky.service.passes.ended("main") >= getattr(snorky, "asked", 1e9))
    assert told(snorky) == [1, 2]


def test_tables_may_have_other_models(tasks: Database, snorky: Snorky, relay: StartRelay) -> None:
    relay(tasks, tables={"task": "Task"}).wait_until_ready()
    add(tasks, 1)
    wait_until(lambda: snorky.deltas == [[insert("Task", id=1, title="a", n=0)]])


def test_rows_may_be_shown_otherwise_than_they_are_stored(
    tasks: Database, snorky: Snorky, relay: StartRelay, expect_log: Any
) -> None:
    def represent(row: Any) -> tuple[str, Any]:
        if row["n"] > 1:
            raise ValueError("cannot be shown")
        return "Ticket", {"id": row["id"], "name": row["title"].upper()}

    relay(tasks, represent={"task": represent}).wait_until_ready()
    add(tasks, 1)
    wait_until(lambda: snorky.deltas == [[insert("Ticket", id=1, name="A")]])
    tasks.execute("UPDATE task SET n = 2")
    wait_until(lambda: snorky.deltas[1:] == [[reset("Ticket")]])
    add(tasks, 3)
    wait_until(lambda: told(snorky) == [1, 3])
    expect_log("A row of task cannot be shown")


def test_killed_after_its_step_was_accepted(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    def kill(command: str) -> None:
        if command == "appendEntries":
            snorky.after = lambda command: None
            raise Killed

    add(tasks, 1)
    snorky.after = kill
    relay(tasks).wait_until_dead()
    add(tasks, 2)
    relay(tasks).wait_until_ready()
    assert told(snorky) == [1, 2]


def test_killed_before_its_step_was_accepted(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    def kill(command: str) -> None:
        if command == "appendEntries":
            snorky.before = lambda command: None
            raise Killed

    add(tasks, 1)
    snorky.before = kill
    relay(tasks).wait_until_dead()
    relay(tasks).wait_until_ready()
    assert told(snorky) == [1]


def test_an_answer_that_is_lost_doubles_nothing(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    def lose(command: str) -> None:
        if command == "appendEntries":
            snorky.after = lambda command: None
            add(tasks, 2)  # so that a new look at the outbox would find more
            raise NoAnswerError("No answer")

    add(tasks, 1)
    snorky.after = lose
    relay(tasks).wait_until_ready()
    wait_until(lambda: len(told(snorky)) >= 2)
    add(tasks, 3)
    wait_until(lambda: told(snorky)[-1:] == [3])
    assert told(snorky) == [1, 2, 3]


def test_one_that_was_suspended_wakes_without_a_fence(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    suspended, resumed = threading.Event(), threading.Event()

    def suspend(command: str) -> None:
        if command == "appendEntries":
            snorky.before = lambda command: None
            suspended.set()
            resumed.wait(patient(10))

    relay(tasks, lease=60).wait_until_ready()  # it asks for no pass, either
    snorky.before = suspend
    add(tasks, 1)
    assert suspended.wait(patient(10))
    second = relay(tasks).wait_until_ready()
    assert told(snorky) == [1]
    add(tasks, 2)
    wait_until(lambda: told(snorky) == [1, 2])
    resumed.set()
    add(tasks, 3)
    wait_until(lambda: told(snorky) == [1, 2, 3])
    second.stop()
    add(tasks, 4)
    wait_until(lambda: told(snorky) == [1, 2, 3, 4])


def test_a_second_one_waits_for_the_lease_to_lapse(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    first = relay(tasks).wait_until_ready()
    second = relay(tasks)
    assert not second.ready.wait(3 * snorky.lease)
    first.stop()
    second.wait_until_ready()
    add(tasks, 1)
    wait_until(lambda: told(snorky) == [1])


def test_one_that_is_stopped_leaves_the_lease(
    tasks: Database, snorky: Snorky, relay: StartRelay
) -> None:
    snorky.lease = patient(60)
    snorky.begin_anew()
    relay(tasks).wait_until_ready().stop()
    relay(tasks).wait_until_ready()


def test_snorky_may_be_away(tasks: Database, snorky: Snorky, relay: StartRelay) -> None:
    snorky.away = True
    running = relay(tasks)
    wait_until(lambda: running.relay.figures.failures > 1)
    assert not running.ready.is_set()
    snorky.away = False
    running.wait_until_ready()
    snorky.away = True
    add(tasks, 1)
    wait_until(lambda: not running.relay.figures.ready)
    snorky.away = False
    wait_until(lambda: told(snorky) == [1])


def test_snorky_may_begin_anew(tasks: Database, snorky: Snorky, relay: StartRelay) -> None:
    relay(tasks).wait_until_ready()
    add(tasks, 1)
    wait_until(lambda: told(snorky) == [1])
    snorky.begin_anew()
    add(tasks, 2)
    wait_until(lambda: told(snorky)[-1:] == [2])


def test_what_snorky_refuses_is_told_as_a_reset(
    tasks: Database, relay: StartRelay, expect_log: Any
) -> None:
    small = Snorky(log_bytes=4000)  # a step has a quarter of it
    running = RunningRelay(relay_module.Relay(tasks.url, lease=small.lease), small)
    running.wait_until_ready()
    add(tasks, 1)
    wait_until(lambda: told(small) == [1])
    tasks.execute(f"INSERT INTO task VALUES (2, '{'x' * 2000}', 0)")
    wait_until(lambda: small.deltas[1:] == [[reset("task")]])
    add(tasks, 3)
    wait_until(lambda: told(small) == [1, 3])
    expect_log("An entry is told as a reset: Step too large")
    running.stop()
    small.close()


def test_a_very_large_transaction_is_a_reset(
    database: Database, snorky: Snorky, relay: StartRelay
) -> None:
    database.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, n integer)")
    numbers = "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 100000)"
    database.execute(f"INSERT INTO task {numbers} SELECT i, 'a', 0 FROM g")
    database.install("task")
    database.execute("UPDATE task SET n = 1")
    relay(database).wait_until_ready()
    assert snorky.deltas == [[reset("task")]]
    add(database, 100_001)
    wait_until(lambda: told(snorky) == [100_001])


def test_triggers_may_be_installed_later(
    database: Database, snorky: Snorky, relay: StartRelay
) -> None:
    running = relay(database)
    wait_until(lambda: running.relay.figures.failures > 1)
    database.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, n integer)")
    database.install("task")
    running.wait_until_ready()


def test_a_file_that_was_put_in_place_of_another_is_read(
    sqlite: SqliteDatabase, snorky: Snorky, relay: StartRelay, expect_log: Any
) -> None:
    sqlite.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, n integer)")
    sqlite.install("task")
    relay(sqlite).wait_until_ready()
    add(sqlite, 1)
    wait_until(lambda: told(snorky) == [1])
    sqlite.close()
    for suffix in ("", "-wal", "-shm"):
        sqlite.path.with_name(sqlite.path.name + suffix).unlink(missing_ok=True)
    another = SqliteDatabase(sqlite.path)
    another.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, n integer)")
    another.install("task")
    add(another, 5)
    wait_until(lambda: told(snorky) == [1, 5])
    assert [reset("task")] in snorky.deltas
    another.close()
    expect_log("Rows of the outbox may have been missed")


def test_a_database_that_is_not_in_wal_mode(
    sqlite: SqliteDatabase, snorky: Snorky, relay: StartRelay
) -> None:
    sqlite.execute("PRAGMA journal_mode = delete")
    sqlite.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, n integer)")
    sqlite.install("task")
    relay(sqlite).wait_until_ready()
    for number in range(5):
        add(sqlite, number)
        wait_until(lambda number=number: told(snorky) == [*range(number + 1)])


def test_it_is_notified_only_while_it_sleeps(
    postgresql: PostgresqlDatabase, snorky: Snorky, relay: StartRelay
) -> None:
    postgresql.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, n integer)")
    postgresql.install("task")
    running = relay(postgresql).wait_until_ready()
    listener = postgresql.connect()
    listener.execute("LISTEN snorky_outbox")
    flag = "SELECT last_value FROM snorky_outbox_asleep"
    wait_until(lambda: postgresql.execute(flag) == [(1,)])
    add(postgresql, 1)
    wait_until(lambda: told(snorky) == [1])
    assert len(list(listener.notifies(timeout=patient(5), stop_after=1))) == 1
    running.stop()
    postgresql.execute("SELECT setval('snorky_outbox_asleep', 0)")
    add(postgresql, *range(2, 30))
    assert list(listener.notifies(timeout=0.05)) == []
    listener.close()


def test_a_pooler_that_changes_connections_is_refused(postgresql: PostgresqlDatabase) -> None:
    class Pooled:
        info = postgresql.connection.info
        pids = iter((1, 2, 3))

        def execute(self, statement: str) -> Any:
            return self

        def fetchone(self) -> tuple[int]:
            return (next(self.pids),)

    with pytest.raises(Lost, match="pooler"):
        PostgresqlSource(postgresql.url)._check_address(Pooled())


def test_the_database_may_restart(
    postgresql: PostgresqlDatabase,
    postgres_server: Any,
    snorky: Snorky,
    relay: StartRelay,
) -> None:
    postgresql.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, n integer)")
    postgresql.install("task")
    running = relay(postgresql).wait_until_ready()
    add(postgresql, 1)
    wait_until(lambda: told(snorky) == [1])
    postgresql.close()
    postgres_server.stop(abruptly=True)
    wait_until(lambda: running.relay.figures.failures > 0)
    postgres_server.start()
    postgresql.connection = postgresql.connect()
    add(postgresql, 2)
    wait_until(lambda: told(snorky) == [1, 2])


def test_what_it_does_is_measured(tasks: Database, snorky: Snorky, relay: StartRelay) -> None:
    running = relay(tasks).wait_until_ready()
    add(tasks, 1)
    wait_until(lambda: running.relay.figures.rows == 1)
    wait_until(lambda: running.relay.measured().outbox_length == 0)
    found = running.relay.measured()
    assert found.ready
    assert found.entries == 1
    assert found.passes > 0
    assert found.lag < 10
