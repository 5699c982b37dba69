"""Rows that SQLite takes away unsaid, values that JSON lacks, and tables that are remade."""

from __future__ import annotations

import sqlite3

import pytest

from snorky.backend.outbox.installation import Condition
from tests.outbox.databases import (
    SqliteDatabase,
    begun,
    delete,
    deltas,
    insert,
    reset,
    told,
    update,
)

A, B = {"id": 1, "slug": "a", "n": 1}, {"id": 2, "slug": "b", "n": 1}


@pytest.fixture
def slugs(sqlite: SqliteDatabase) -> SqliteDatabase:
    sqlite.execute("CREATE TABLE task (id integer PRIMARY KEY, slug text UNIQUE, n integer)")
    sqlite.install("task")
    sqlite.execute("INSERT INTO task VALUES (1, 'a', 1), (2, 'b', 1)")
    return sqlite


def after(database: SqliteDatabase, *statements: str) -> list[object]:
    """The deltas that these statements caused."""
    reader = database.reader()
    begun(reader)
    told(reader)
    database.execute(*statements)
    return [delta for entry in deltas(told(reader)) for delta in entry]


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
def test_a_replaced_row_is_told_as_deleted_once(slugs: SqliteDatabase, recursive: str) -> None:
    slugs.execute(f"PRAGMA recursive_triggers = {recursive}")
    found = after(slugs, "REPLACE INTO task VALUES (1, 'b', 5)")
    assert sorted(map(str, found[:-1])) == sorted(
        map(str, [delete("task", **A), delete("task", **B)])
    )
    assert found[-1] == insert("task", id=1, slug="b", n=5)


def test_an_update_may_replace_another_row(slugs: SqliteDatabase) -> None:
    assert after(slugs, "UPDATE OR REPLACE task SET slug = 'b' WHERE id = 1") == [
        delete("task", **B),
        update("task", A, A | {"slug": "b"}),
    ]


def test_a_row_moved_to_another_key_may_replace_another(slugs: SqliteDatabase) -> None:
    assert after(slugs, "UPDATE OR REPLACE task SET id = 1 WHERE id = 2") == [
        delete("task", **A),
        update("task", B, B | {"id": 1}),
    ]


def test_an_insert_that_gives_way_takes_nothing_away(slugs: SqliteDatabase) -> None:
    assert after(slugs, "INSERT OR IGNORE INTO task VALUES (1, 'c', 5)") == []
    assert after(
        slugs, "INSERT INTO task VALUES (1, 'c', 5) ON CONFLICT (id) DO UPDATE SET n = 7"
    ) == [update("task", A, A | {"n": 7})]
    assert after(slugs, "UPDATE task SET n = 8 WHERE id = 2") == [update("task", B, B | {"n": 8})]


def test_tables_without_rowid(sqlite: SqliteDatabase) -> None:
    sqlite.execute("CREATE TABLE pair (a text, b integer, n, PRIMARY KEY (a, b)) WITHOUT ROWID")
    sqlite.install("pair")
    sqlite.execute("INSERT INTO pair VALUES ('x', 1, 1)")
    old = {"a": "x", "b": 1, "n": 1}
    assert after(sqlite, "INSERT OR IGNORE INTO pair VALUES ('x', 1, 2)") == []
    assert after(sqlite, "UPDATE pair SET n = 2") == [update("pair", old, old | {"n": 2})]
    assert after(sqlite, "REPLACE INTO pair VALUES ('x', 1, 3)") == [
        delete("pair", **old | {"n": 2}),
        insert("pair", **old | {"n": 3}),
    ]


def test_what_json_lacks_never_fails_a_write(slugs: SqliteDatabase) -> None:
    assert after(
        slugs,
        "INSERT INTO task VALUES (3, CAST(x'ff' AS text), 9e999)",
        "INSERT INTO task VALUES (4, x'00ff', -9e999)",
        "INSERT INTO task VALUES (5, 'Inf, \"NaN\"', 1e300)",
    ) == [
        insert("task", id=3, slug="\ufffd", n=None),
        insert("task", id=4, slug=None, n=None),
        insert("task", id=5, slug='Inf, "NaN"', n=1e300),
    ]


def test_a_table_with_many_columns(sqlite: SqliteDatabase) -> None:
    names = [f"c{number}" for number in range(130)]
    sqlite.execute(f"CREATE TABLE wide (id integer PRIMARY KEY, {', '.join(names)})")
    sqlite.install("wide")
    row = {"id": 1} | dict.fromkeys(names, 7)
    assert after(sqlite, f"INSERT INTO wide VALUES (1, {', '.join('7' for _ in names)})") == [
        insert("wide", **row)
    ]


def test_cascades_are_told(sqlite: SqliteDatabase) -> None:
    sqlite.execute(
        "PRAGMA foreign_keys = ON",
        "CREATE TABLE project (id integer PRIMARY KEY)",
        "CREATE TABLE task (id integer PRIMARY KEY,"
        " project integer REFERENCES project ON DELETE CASCADE)",
    )
    sqlite.install("task")
    sqlite.execute("INSERT INTO project VALUES (1)", "INSERT INTO task VALUES (7, 1)")
    assert after(sqlite, "DELETE FROM project") == [delete("task", id=7, project=1)]


def test_a_table_that_was_remade_is_reset_again_and_again(slugs: SqliteDatabase) -> None:
    reader = slugs.reader()
    begun(reader)
    told(reader)
    slugs.transaction(
        "CREATE TABLE new_task (id integer PRIMARY KEY, slug text UNIQUE, n integer)",
        "INSERT INTO new_task SELECT id, slug, n + 1 FROM task",
        "DROP TABLE task",
        "ALTER TABLE new_task RENAME TO task",
    )
    assert slugs.status().tables[0].condition is Condition.MISSING
    assert deltas(told(reader)) == [[reset("task")]]
    slugs.execute("UPDATE task SET n = 5")
    assert deltas([e for step in reader.check() for e in step.entries]) == [[reset("task")]]
    slugs.install("task")
    assert deltas(told(reader)) == [[reset("task")]]
    slugs.execute("UPDATE task SET n = 6 WHERE id = 1")
    assert deltas(told(reader)) == [[update("task", A | {"n": 5}, A | {"n": 6})]]


def test_a_column_that_triggers_do_not_know_makes_resets(slugs: SqliteDatabase) -> None:
    reader = slugs.reader()
    begun(reader)
    told(reader)
    slugs.execute("ALTER TABLE task ADD COLUMN due text")
    assert deltas(told(reader)) == [[reset("task")]]
    slugs.execute("UPDATE task SET due = 'now'")
    assert {str(delta) for delta in deltas(told(reader))[0]} == {str(reset("task"))}


@pytest.fixture(autouse=True)
def _warnings(expect_log):  # type: ignore[no-untyped-def]
    yield
    expect_log.all("Triggers of task")


def test_a_write_fails_neither_for_a_reader_nor_for_a_slow_append(slugs: SqliteDatabase) -> None:
    reader = slugs.reader()
    begun(reader)
    application = slugs.connect(timeout=0)
    for step in reader.read():
        assert step.entries
        application.execute("BEGIN")
        application.execute("SELECT * FROM task").fetchall()
        application.execute("UPDATE task SET n = 3")
        application.execute("COMMIT")
    application.close()
    assert isinstance(application, sqlite3.Connection)
