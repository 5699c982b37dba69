"""Whole transactions in the order of conflicting commits, whatever else is open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from snorky.backend.outbox import keys, postgresql_reader
from snorky.backend.outbox.installation import Condition, InstallationError
from snorky.backend.outbox.reading import Lost
from snorky.backend.outbox.table import create_postgresql
from tests.outbox.databases import (
    PostgresqlDatabase,
    begun,
    delete,
    deltas,
    insert,
    reset,
    told,
    update,
)


@pytest.fixture
def tasks(postgresql: PostgresqlDatabase) -> PostgresqlDatabase:
    postgresql.execute("CREATE TABLE task (id integer PRIMARY KEY, n integer)")
    postgresql.install("task")
    return postgresql


@pytest.fixture
def other(tasks: PostgresqlDatabase) -> Iterator[psycopg.Connection[Any]]:
    connection = tasks.connect()
    yield connection
    connection.close()


@pytest.fixture(autouse=True)
def _warnings(expect_log: Any) -> Any:
    yield
    expect_log.all("Triggers of ")
    expect_log.all("Rows of the outbox may have been missed")


def numbers(entries: list[list[Any]]) -> list[list[int]]:
    return [[delta["data"]["id"] for delta in entry] for entry in entries]


def test_the_order_is_that_of_conflicting_commits(
    tasks: PostgresqlDatabase, other: psycopg.Connection[Any]
) -> None:
    tasks.execute("INSERT INTO task VALUES (1, 0), (2, 0)")
    reader = tasks.reader()
    begun(reader)
    told(reader)
    first, second = tasks.connection, other
    first.execute("BEGIN")
    first.execute("UPDATE task SET n = 1 WHERE id = 2")
    second.execute("UPDATE task SET n = 2 WHERE id = 1")
    first.execute("UPDATE task SET n = 3 WHERE id = 1")
    first.execute("COMMIT")
    (of_second, of_first) = deltas(told(reader))
    assert of_second == [update("task", {"id": 1, "n": 0}, {"id": 1, "n": 2})]
    assert of_first[-1] == update("task", {"id": 1, "n": 2}, {"id": 1, "n": 3})


def test_a_transaction_that_commits_late_is_told_whole(
    tasks: PostgresqlDatabase, other: psycopg.Connection[Any]
) -> None:
    reader = tasks.reader()
    begun(reader)
    other.execute("BEGIN")
    other.execute("INSERT INTO task VALUES (1, 0)")
    for number in (2, 3, 4):
        tasks.execute(f"INSERT INTO task VALUES ({number}, 0)")
        assert numbers(deltas(told(reader))) == [[number]]
    other.execute("INSERT INTO task VALUES (5, 0)")
    other.execute("COMMIT")
    assert numbers(deltas(told(reader))) == [[1, 5]]


def test_the_newest_transaction_is_told_whole_however_often_it_is_looked_for(
    tasks: PostgresqlDatabase, other: psycopg.Connection[Any]
) -> None:
    reader = tasks.reader()
    begun(reader)
    other.execute("BEGIN")
    for number in range(5):
        other.execute("INSERT INTO task VALUES (%s, 0)", (number,))
        assert told(reader) == []
        assert told(reader) == []
    other.execute("COMMIT")
    assert numbers(deltas(told(reader))) == [[0, 1, 2, 3, 4]]


def test_an_unrelated_transaction_neither_delays_nor_widens_what_is_read(
    tasks: PostgresqlDatabase, other: psycopg.Connection[Any]
) -> None:
    other.execute("BEGIN")
    other.execute("CREATE TABLE unrelated ()")
    reader = tasks.reader()
    begun(reader)
    for number in range(5):
        tasks.execute(f"INSERT INTO task VALUES ({number}, 0)")
        tasks.execute("BEGIN", f"INSERT INTO task VALUES ({number + 100}, 0)", "ROLLBACK")
        assert numbers(deltas(told(reader))) == [[number]]
    # What was rolled back is looked for by name, and nothing else below the newest.
    assert reader.low_water.newest >= 9
    assert sum(high - low for low, high in zip(*reader.low_water.ranges, strict=True)) < 3
    other.execute("ROLLBACK")
    told(reader)
    told(reader)
    assert reader.low_water.ranges == ([], [])


def test_rows_are_deleted_once_they_were_accepted_and_those_alone(
    tasks: PostgresqlDatabase, other: psycopg.Connection[Any]
) -> None:
    reader = tasks.reader()
    begun(reader)
    other.execute("BEGIN")
    other.execute("INSERT INTO task VALUES (1, 0)")
    tasks.execute("INSERT INTO task VALUES (2, 0)")
    steps = reader.read()
    first = next(steps)
    other.execute("COMMIT")
    steps.close()
    assert tasks.status().length == 2
    again = told(reader)
    assert again[-1:] == first.entries
    assert numbers(deltas(again)) == [[1], [2]]
    assert tasks.status().length == 0


def test_a_step_has_what_fits(tasks: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_reader, "STEP_ENTRIES", 4)
    monkeypatch.setattr(postgresql_reader, "MOST_PIECES", 5)  # of more the server keeps the list
    reader = tasks.reader()
    begun(reader)
    for number in range(11):
        tasks.execute(f"INSERT INTO task VALUES ({number}, 0)")
    steps = [[json.loads(e.deltas)[0]["data"]["id"] for e in s.entries] for s in reader.read()]
    assert steps == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert told(reader) == []


def test_a_transaction_that_is_too_large_is_never_fetched(
    tasks: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.execute("CREATE TABLE note (id integer)")
    tasks.install("note")
    reader = tasks.reader()
    begun(reader)
    fetched: list[str] = []
    changes = reader.rendering.changes
    monkeypatch.setattr(
        reader.rendering, "changes", lambda rows: changes(fetched.extend(rows) or rows)
    )
    tasks.transaction(
        "INSERT INTO task SELECT g, 0 FROM generate_series(1, 20000) g",
        "INSERT INTO note VALUES (1)",
    )
    tasks.execute("INSERT INTO note VALUES (2)")
    assert deltas(told(reader)) == [[reset("note"), reset("task")], [insert("note", id=2)]]
    assert len(fetched) == 1
    assert tasks.status().length == 0


def test_truncate_is_a_reset(tasks: PostgresqlDatabase) -> None:
    reader = tasks.reader()
    begun(reader)
    tasks.execute("TRUNCATE task")
    assert deltas(told(reader)) == [[reset("task")]]


def test_partitions_report_their_root(tasks: PostgresqlDatabase) -> None:
    tasks.execute(
        "CREATE TABLE event (id integer, day integer) PARTITION BY RANGE (day)",
        "CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (10) TO (20)",
    )
    tasks.install("event")
    with pytest.raises(InstallationError):
        tasks.install("event_1")
    reader = tasks.reader()
    begun(reader)
    tasks.execute("INSERT INTO event_1 VALUES (1, 1)", "UPDATE event SET day = 11")
    tasks.execute("TRUNCATE event_2")
    assert deltas(told(reader)) == [
        [insert("event", id=1, day=1)],
        [delete("event", id=1, day=1), insert("event", id=1, day=11)],
        [reset("event")],
    ]
    tasks.execute("ALTER TABLE event DETACH PARTITION event_1")
    assert deltas([e for step in reader.check() for e in step.entries]) == [[reset("event")]]
    tasks.execute("ALTER TABLE event ATTACH PARTITION event_1 FOR VALUES FROM (0) TO (10)")
    assert deltas([e for step in reader.check() for e in step.entries]) == [[reset("event")]]
    tasks.execute("INSERT INTO event VALUES (3, 3)")
    assert deltas(told(reader)) == [[insert("event", id=3, day=3)]]


def test_a_changed_table_and_a_missing_trigger_are_resets(tasks: PostgresqlDatabase) -> None:
    reader = tasks.reader()
    begun(reader)

    def checked() -> list[list[Any]]:
        return deltas([entry for step in reader.check() for entry in step.entries])

    assert checked() == []
    tasks.execute("ALTER TABLE task ADD COLUMN title text")
    assert checked() == [[reset("task")]]
    assert checked() == []
    tasks.execute('DROP TRIGGER "!snorky_changed" ON task')
    assert checked() == [[reset("task")]]
    assert checked() == [[reset("task")]]
    assert tasks.status().tables[0].condition is Condition.MISSING
    tasks.execute("DROP TABLE task")
    assert checked() == [[reset("task")]]
    assert checked() == []
    assert tasks.status().tables[0].condition is Condition.GONE


def test_changes_of_a_replica_role_are_seen(tasks: PostgresqlDatabase) -> None:
    reader = tasks.reader()
    begun(reader)
    tasks.transaction(
        "SET LOCAL session_replication_role = replica", "INSERT INTO task VALUES (1, 0)"
    )
    assert deltas(told(reader)) == [[insert("task", id=1, n=0)]]


def test_whoever_may_write_the_table_may_write_it_with_triggers(
    tasks: PostgresqlDatabase, other: psycopg.Connection[Any]
) -> None:
    reader = tasks.reader()
    begun(reader)
    tasks.execute("DROP ROLE IF EXISTS clerk", "CREATE ROLE clerk", "GRANT INSERT ON task TO clerk")
    other.execute("SET ROLE clerk")
    # Neither can what stands in its search_path be taken for what the triggers mean.
    other.execute("CREATE TEMPORARY TABLE snorky_outbox (model text, old_data text, new_data text)")
    other.execute("INSERT INTO task VALUES (1, 0)")
    with other.transaction():
        found = keys(other)
    assert deltas(told(reader))[0] == [insert("task", id=1, n=0)]
    assert len(found) == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        other.execute("SELECT * FROM public.snorky_outbox")
    other.execute("RESET ROLE")
    tasks.execute("DROP OWNED BY clerk", "DROP ROLE clerk")


def test_what_cannot_be_converted_never_fails_a_write(tasks: PostgresqlDatabase) -> None:
    tasks.execute(
        "CREATE TYPE odd AS ENUM ('a')",
        "CREATE FUNCTION odd_json(odd) RETURNS json LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no JSON'; END $$",
        "CREATE CAST (odd AS json) WITH FUNCTION odd_json(odd)",
        "CREATE TABLE strange (id integer, what odd, f float8)",
    )
    tasks.install("strange")
    reader = tasks.reader()
    begun(reader)
    tasks.execute(
        "INSERT INTO strange VALUES (1, NULL, 'NaN')", "INSERT INTO strange VALUES (2, 'a', 1)"
    )
    (first, second) = deltas(told(reader))
    assert first[0]["data"]["id"] == 1
    assert second == [reset("strange")]


def test_a_full_outbox_has_one_reset_of_each_model_in_a_transaction(
    tasks: PostgresqlDatabase,
) -> None:
    tasks.install("task", max_outbox_bytes=5000)
    reader = tasks.reader()
    begun(reader)
    tasks.execute("INSERT INTO task SELECT g, 0 FROM generate_series(1, 1000) g")
    assert 20 < tasks.status().length < 200
    assert tasks.status().notes != []
    length = tasks.status().length
    tasks.transaction("UPDATE task SET n = 1", "UPDATE task SET n = 2")
    assert tasks.status().length == length + 1
    assert deltas(told(reader))[-1] == [reset("task")]
    tasks.execute("UPDATE task SET n = 3 WHERE id = 1")
    assert deltas(told(reader)) == [[update("task", {"id": 1, "n": 2}, {"id": 1, "n": 3})]]
    for statement in create_postgresql("public"):
        tasks.execute(statement)


def test_another_database_is_noticed(tasks: PostgresqlDatabase) -> None:
    tasks.execute("INSERT INTO task VALUES (1, 0)")
    reader = tasks.reader()
    assert begun(reader) == []
    told(reader)
    place = dict(reader.place)
    assert begun(tasks.reader(place)) == []
    for changed in (
        {"identity": place["identity"].replace(" 00000001 ", " 00000002 ")},
        {"identity": f"1{place['identity']}"},
        {"newest": place["newest"] + 100},
        {"schema": "other"},
    ):
        assert deltas(begun(tasks.reader(place | changed))) == [[reset("task")]]


def test_numbers_that_went_back_are_noticed(tasks: PostgresqlDatabase) -> None:
    reader = tasks.reader()
    begun(reader)
    for number in range(5):
        tasks.execute(f"INSERT INTO task VALUES ({number}, 0)")
    told(reader)
    tasks.execute("TRUNCATE snorky_outbox RESTART IDENTITY")
    with pytest.raises(Lost):
        told(reader)
    tasks.execute("INSERT INTO task VALUES (7, 0)")
    follower = tasks.reader(reader.place)
    assert deltas(begun(follower)) == [[reset("task")]]
    assert numbers(deltas(told(follower))) == [[7]]


def test_it_goes_on_where_its_predecessor_was(tasks: PostgresqlDatabase) -> None:
    tasks.execute("INSERT INTO task VALUES (1, 0)")
    reader = tasks.reader()
    begun(reader)
    told(reader)
    told(reader)
    follower = tasks.reader(reader.place)
    begun(follower)
    assert follower.low_water.newest == reader.low_water.low > 0


def test_keys_are_those_of_the_transaction(
    tasks: PostgresqlDatabase, other: psycopg.Connection[Any]
) -> None:
    reader = tasks.reader()
    begun(reader)
    with other.transaction():
        other.execute("INSERT INTO task VALUES (1, 0)")
        found = keys(other)
        assert found == keys(other)
    with other.transaction():
        nothing = keys(other)
    (first, second) = told(reader)
    assert [first.key] == found
    assert [second.key] == nothing
    assert second.deltas == "[]"
    with other.transaction():
        other.execute("SET TRANSACTION READ ONLY")
        assert keys(other) == []


def test_rows_that_were_told_and_are_back_are_not_told_again(tasks: PostgresqlDatabase) -> None:
    """As after the database's machine failed, and lost our last commits."""
    reader = tasks.reader()
    begun(reader)
    tasks.execute("INSERT INTO task VALUES (1, 0)")
    tasks.execute("CREATE TABLE back AS SELECT * FROM snorky_outbox")
    assert numbers(deltas(told(reader))) == [[1]]
    tasks.execute("INSERT INTO snorky_outbox_rows OVERRIDING SYSTEM VALUE SELECT * FROM back")

    again = tasks.reader(place=reader.place)
    begun(again)
    tasks.execute("INSERT INTO task VALUES (2, 0)")
    assert numbers(deltas(told(again))) == [[2]]
    assert tasks.execute("SELECT count(*) FROM snorky_outbox") == [(0,)]


def test_deletions_reach_the_disk_before_the_log_forgets_their_keys(
    tasks: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_reader, "ENTRIES_BETWEEN_FLUSHES", 3)
    reader = tasks.reader()
    begun(reader)
    for number in range(4):
        tasks.execute(f"INSERT INTO task VALUES ({number}, 0)")
    assert numbers(deltas(told(reader))) == [[0], [1], [2], [3]]
    assert reader._not_flushed == 0
    tasks.execute("INSERT INTO task VALUES (4, 0)")
    assert numbers(deltas(told(reader))) == [[4]]
    assert reader._not_flushed == 1
