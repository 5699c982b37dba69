"""The place in SQLite's outbox: in the log, never in the database; and what if rows go."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from snorky.backend.outbox import sqlite_reader
from snorky.backend.outbox.reading import Lost
from snorky.backend.outbox.table import create_sqlite
from tests.outbox.databases import SqliteDatabase, begun, deltas, insert, reset, told, update


@pytest.fixture
def tasks(sqlite: SqliteDatabase) -> SqliteDatabase:
    sqlite.execute("CREATE TABLE task (id integer PRIMARY KEY)")
    sqlite.install("task")
    return sqlite


@pytest.fixture(autouse=True)
def _warnings(expect_log: Any) -> Any:
    yield
    expect_log.all("Rows of the outbox may have been missed")


def add(database: SqliteDatabase, *numbers: int) -> None:
    for number in numbers:
        database.execute(f"INSERT INTO task VALUES ({number})")


def test_reading_writes_nothing(tasks: SqliteDatabase) -> None:
    add(tasks, 1)
    reader = tasks.reader()
    before = tasks.connection.total_changes
    begun(reader)
    assert len(told(reader)) == 1
    assert tasks.connection.total_changes == before
    assert tasks.status().length == 1


def test_the_place_goes_with_each_step(tasks: SqliteDatabase) -> None:
    add(tasks, 1)
    reader = tasks.reader()
    begun(reader)
    (step,) = reader.read()
    add(tasks, 2)
    follower = tasks.reader(step.place)
    assert begun(follower) == []
    assert deltas(told(follower)) == [[insert("task", id=2)]]


def test_a_step_that_was_not_accepted_is_told_again_under_its_key(tasks: SqliteDatabase) -> None:
    add(tasks, 1)
    reader = tasks.reader()
    begun(reader)
    told(reader)
    add(tasks, 2)
    first = next(iter(reader.read()))
    second = next(iter(reader.read()))
    assert first.entries == second.entries


def test_without_a_place_it_begins_at_the_oldest_row(tasks: SqliteDatabase) -> None:
    add(tasks, 1, 2)
    reader = tasks.reader()
    assert begun(reader) == []
    assert deltas(told(reader)) == [[insert("task", id=1), insert("task", id=2)]]


def trim_soon(database: SqliteDatabase) -> None:
    for statement in create_sqlite(max_bytes=4000):
        database.execute(statement)


def test_the_outbox_is_bounded(tasks: SqliteDatabase) -> None:
    trim_soon(tasks)
    add(tasks, *range(500))
    assert tasks.status().length < 100


def test_old_rows_are_trimmed(tasks: SqliteDatabase) -> None:
    for statement in create_sqlite(max_bytes=100_000, keep_seconds=-10):
        tasks.execute(statement)
    add(tasks, *range(50))
    assert tasks.status().length < 20


def test_without_a_place_a_reset_comes_first_where_rows_were_trimmed(
    tasks: SqliteDatabase,
) -> None:
    trim_soon(tasks)
    add(tasks, *range(500))
    reader = tasks.reader()
    assert deltas(begun(reader)) == [[reset("task")]]
    (entry,) = deltas(told(reader))
    assert entry[-1] == insert("task", id=499)


def test_a_reader_that_was_overtaken_resets(tasks: SqliteDatabase) -> None:
    add(tasks, 1)
    reader = tasks.reader()
    begun(reader)
    told(reader)
    trim_soon(tasks)
    add(tasks, *range(2, 500))
    with pytest.raises(Lost):
        told(reader)
    follower = tasks.reader(reader.place)
    assert deltas(begun(follower)) == [[reset("task")]]
    (entry,) = deltas(told(follower))
    assert entry[-1] == insert("task", id=499)


def test_what_is_too_much_for_an_entry_is_a_reset(
    tasks: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = tasks.reader()
    begun(reader)
    monkeypatch.setattr(sqlite_reader, "MAX_ENTRY_BYTES", 1000)
    add(tasks, *range(100))
    assert deltas(told(reader)) == [[reset("task")]]
    add(tasks, 100)
    assert deltas(told(reader)) == [[insert("task", id=100)]]
    monkeypatch.setattr(sqlite_reader, "MOST_ROWS", 10)
    add(tasks, *range(101, 120))
    assert deltas(told(reader)) == [[reset("task")]]


def test_a_file_that_was_copied_back_is_noticed(tasks: SqliteDatabase) -> None:
    add(tasks, 1)
    tasks.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(tasks.path, tasks.path.with_suffix(".copy"))
    reader = tasks.reader()
    begun(reader)
    told(reader)
    add(tasks, 2)
    told(reader)
    tasks.close()
    tasks.path.with_suffix(".copy").replace(tasks.path)
    tasks.connection = tasks.connect()
    add(tasks, 3, 4)  # as many numbers as before, and another row at the same one
    follower = tasks.reader(reader.place)
    assert deltas(begun(follower)) == [[reset("task")]]
    assert deltas(told(follower)) == [[insert("task", id=n) for n in (1, 3, 4)]]


def test_an_outbox_that_was_born_again_is_noticed(tasks: SqliteDatabase) -> None:
    add(tasks, 1)
    reader = tasks.reader()
    begun(reader)
    told(reader)
    tasks.remove("task")
    with pytest.raises(Lost):
        told(reader)
    tasks.install("task")
    add(tasks, 2)
    with pytest.raises(Lost):
        told(reader)
    assert deltas(begun(tasks.reader(reader.place))) == [[reset("task")]]


def test_triggers_that_were_made_again_while_nobody_looked_are_noticed(
    tasks: SqliteDatabase,
) -> None:
    reader = tasks.reader()
    begun(reader)
    place = reader.place
    tasks.execute("DROP TRIGGER snorky_task_update")
    add(tasks, 1)
    tasks.install("task")
    assert deltas(begun(tasks.reader(place))) == [[reset("task")]]


def test_columns_of_booleans_are_told_as_true_and_false(sqlite: SqliteDatabase) -> None:
    sqlite.execute(
        "CREATE TABLE task (id INTEGER PRIMARY KEY, n INTEGER, note TEXT,"
        ' done BOOLEAN, "is ""é""" bool NOT NULL DEFAULT 0)'
    )
    sqlite.install("task")
    reader = sqlite.reader()
    begun(reader)
    note = '"done":1,'
    sqlite.execute(
        f"INSERT INTO task (id, n, note, done) VALUES (1, 1, '{note}', 1), (2, 0, '', 7)"
    )
    sqlite.execute("UPDATE task SET done = NULL WHERE id = 1")
    name = 'is "é"'
    before = {"id": 1, "n": 1, "note": note, "done": True, name: False}
    [(first, second, third)] = deltas(told(reader))
    assert json.dumps(first["data"]) == json.dumps(before), "1 is not true in JSON"
    assert json.dumps(second["data"]["done"]) == "7", "which is neither"
    assert third == update("task", before, before | {"done": None})
