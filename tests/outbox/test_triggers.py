"""What triggers write, on both databases; and that nobody's write ever fails for them."""

from __future__ import annotations

import pytest

from snorky.backend.outbox.installation import Condition, InstallationError
from tests.outbox.databases import Database, begun, delete, deltas, insert, reset, told, update

A = {"id": 1, "title": "a", "n": 1}


def test_rows_are_told_as_they_were_and_are(tasks: Database) -> None:
    reader = tasks.reader()
    begun(reader)
    tasks.transaction(
        "INSERT INTO task VALUES (1, 'a', 1)",
        "UPDATE task SET title = 'b'",
        "DELETE FROM task",
    )
    assert deltas(told(reader)) == [
        [
            insert("task", **A),
            update("task", A, A | {"title": "b"}),
            delete("task", **A | {"title": "b"}),
        ]
    ]
    assert told(reader) == []


def test_what_was_rolled_back_is_not_told(tasks: Database) -> None:
    reader = tasks.reader()
    begun(reader)
    tasks.execute("BEGIN", "INSERT INTO task VALUES (1, 'a', 1)", "ROLLBACK")
    tasks.transaction(
        "INSERT INTO task VALUES (2, 'b', 1)",
        "SAVEPOINT s",
        "UPDATE task SET n = 2",
        "ROLLBACK TO s",
    )
    assert deltas(told(reader)) == [[insert("task", id=2, title="b", n=1)]]


def test_a_row_that_is_too_long_is_a_reset(database: Database) -> None:
    database.execute("CREATE TABLE task (id integer PRIMARY KEY, title text)")
    database.install("task", max_row_bytes=1000)
    reader = database.reader()
    begun(reader)
    long = "x" * 2000
    database.execute(f"INSERT INTO task VALUES (1, '{long}')", "UPDATE task SET title = 'a'")
    assert all(each == [reset("task")] for each in _split(deltas(told(reader))))
    database.execute("UPDATE task SET title = 'b'")
    assert deltas(told(reader)) == [
        [update("task", {"id": 1, "title": "a"}, {"id": 1, "title": "b"})]
    ]


def _split(entries: list[list[object]]) -> list[list[object]]:
    return [[delta] for entry in entries for delta in entry]


def test_names_of_any_kind_do(database: Database) -> None:
    name = "Odd \"and' %s name"
    quoted = name.replace('"', '""')
    database.execute(f'CREATE TABLE "{quoted}" ("the ""key" integer PRIMARY KEY, "it\'s" text)')
    database.install(name)
    reader = database.reader()
    begun(reader)
    database.execute(f"INSERT INTO \"{quoted}\" VALUES (1, 'a')")
    assert deltas(told(reader)) == [[insert(name, **{'the "key': 1, "it's": "a"})]]
    database.remove(name)


def test_a_trigger_of_the_applications_own_may_change_the_row_again(database: Database) -> None:
    database.execute("CREATE TABLE task (id integer PRIMARY KEY, n integer)")
    database.install("task")
    if "sqlite" in database.url:
        database.execute(
            "CREATE TRIGGER again AFTER UPDATE ON task WHEN NEW.n < 9 BEGIN"
            " UPDATE task SET n = 9 WHERE id = NEW.id; END"
        )
        assert database.status("task").tables[0].condition is Condition.CHANGED
        database.install("task")
    else:
        database.execute(
            "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN UPDATE task SET n = 9 WHERE id = NEW.id; RETURN NULL; END $$",
            "CREATE TRIGGER again AFTER UPDATE ON task FOR EACH ROW WHEN (NEW.n < 9)"
            " EXECUTE FUNCTION again()",
        )
    reader = database.reader()
    begun(reader)
    database.execute("INSERT INTO task VALUES (1, 1)")
    told(reader)
    database.execute("UPDATE task SET n = 2")
    (entry,) = deltas(told(reader))
    assert entry[-1]["newData"]["n"] == 9
    assert 1 in [delta["oldData"]["n"] for delta in entry]


def test_installing_again_changes_nothing(tasks: Database) -> None:
    before = tasks.status().tables
    tasks.install("task")
    assert tasks.status().tables == before


def test_removing_the_last_triggers_removes_the_outbox(tasks: Database) -> None:
    tasks.remove("task")
    tasks.execute("INSERT INTO task VALUES (1, 'a', 1)")
    assert tasks.status("task").tables[0].condition is Condition.MISSING
    found = "sqlite_schema" if "sqlite" in tasks.url else "pg_class"
    name = "name" if "sqlite" in tasks.url else "relname"
    assert tasks.execute(f"SELECT {name} FROM {found} WHERE {name} LIKE 'snorky%'") == []
    with pytest.raises(InstallationError):
        tasks.remove("task")


def test_what_cannot_have_triggers_is_refused(tasks: Database) -> None:
    tasks.execute("CREATE VIEW shown AS SELECT * FROM task")
    for name in ("nothing", "shown", "snorky_outbox"):
        with pytest.raises(InstallationError):
            tasks.install(name)


def test_columns_of_bytes_are_left_out_and_named(database: Database) -> None:
    kind = "blob" if "sqlite" in database.url else "bytea"
    database.execute(f"CREATE TABLE task (id integer PRIMARY KEY, title text, photo {kind})")
    database.install("task")
    reader = database.reader()
    begun(reader)
    database.execute("INSERT INTO task VALUES (1, 'a', 'bytes')")
    assert deltas(told(reader)) == [[insert("task", id=1, title="a")]]
    assert database.status().tables[0].left_out == ["photo"]


def test_the_state_of_the_outbox_is_told(tasks: Database) -> None:
    assert tasks.status().length == 0
    tasks.execute("INSERT INTO task VALUES (1, 'a', 1)")
    found = tasks.status("task", "other")
    assert [(each.name, each.condition) for each in found.tables] == [
        ("task", Condition.INSTALLED),
        ("other", Condition.MISSING),
    ]
    assert found.length == 1
    assert found.age is not None
    assert 0 <= found.age < 60
    assert found.size > 10
