"""Which rows the outbox gets, whatever SQLAlchemy is told to do."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, text, update
from sqlalchemy.orm import Session

from snorky.backend.outbox.table import MAX_ROW_BYTES
from snorky.backend.sqlalchemy.writing import gathered_keys, outbox_table
from tests.backend.sqlalchemy.conftest import Book, Item, Note, Project, Task, Told


def test_a_flush_tells_the_rows_that_it_writes(session: Session, told: Told) -> None:
    task = Task(title="a", votes=3)
    session.add(task)
    session.commit()
    task.votes = Task.votes + 1
    session.commit()
    session.delete(task)
    session.commit()
    three, four = ({"id": 1, "title": "a", "votes": votes} for votes in (3, 4))
    assert told.rows == [("Task", None, three), ("Task", three, four), ("Task", four, None)]


def test_several_of_one_flush_are_told_each(session: Session, told: Told) -> None:
    tasks = [Task(title=title) for title in "abc"]
    session.add_all(tasks)
    session.commit()
    for task in tasks:
        task.title = task.title.upper()
    session.commit()
    assert sorted(told.titles[:3], key=str) == [(None, "a"), (None, "b"), (None, "c")]
    assert sorted(told.titles[3:]) == [("a", "A"), ("b", "B"), ("c", "C")]


def test_what_is_rolled_back_was_never_told(session: Session, tasks: Any, told: Told) -> None:
    with session.begin_nested() as nested:
        tasks[0].title = "z"
        session.flush()
        nested.rollback()
    tasks[1].title = "z"
    session.flush()
    session.rollback()
    tasks[2].title = "C"
    session.commit()
    assert told.titles == [("c", "C")]


def test_update_tells_the_rows_that_it_changed(session: Session, tasks: Any, told: Told) -> None:
    session.execute(update(Task).where(Task.votes >= 1).values(votes=Task.votes + 1))
    session.commit()
    assert [(old["votes"], new["votes"]) for _, old, new in told.rows] == [(1, 2), (2, 3)]


def test_delete_tells_the_rows_that_it_took(session: Session, tasks: Any, told: Told) -> None:
    session.execute(delete(Task).where(Task.votes < 2))
    session.commit()
    assert told.titles == [("a", None), ("b", None)]


def test_core_on_a_connection_is_told(engine: Engine, tasks: Any, told: Told) -> None:
    table = Task.__table__
    with engine.begin() as connection:
        connection.execute(insert(table).values(title="d", votes=0))
        connection.execute(update(table).where(table.c.title == "d"), {"title": "D"})
        connection.execute(delete(table).where(table.c.title == "a"))
    assert told.titles == [(None, "d"), ("d", "D"), ("a", None)]


def test_a_bulk_insert_is_told_or_a_reset(session: Session, told: Told) -> None:
    session.scalars(insert(Task).returning(Task), [{"title": "a"}, {"title": "b"}]).all()
    session.execute(insert(Task), [{"id": 8, "title": "c"}, {"id": 9, "title": "d"}])
    session.commit()
    names = [(name, new and new["title"]) for name, _, new in told.rows]
    assert ("Task", None) in names[:2] or names[:2] == [("Task", "a"), ("Task", "b")]
    assert names[-2:] == [("Task", "c"), ("Task", "d")]


def test_an_insert_that_may_change_what_is_there_is_a_reset(
    engine: Engine, session: Session, tasks: Any, told: Told
) -> None:
    if engine.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as upsert
    else:
        from sqlalchemy.dialects.postgresql import insert as upsert  # type: ignore[assignment]
    statement = upsert(Task).values(id=tasks[0].id, title="z", votes=0)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"title": "z"}))
    session.commit()
    assert told.rows == [("Task", None, None)]


def test_a_cascade_of_the_orm_is_told(session: Session, told: Told) -> None:
    project = Project(name="P", tasks=[Task(title="a"), Task(title="b")])
    session.add(project)
    session.commit()
    told.clear()
    project.tasks.pop()
    session.commit()
    assert told.titles == [("b", None)]
    told.clear()
    session.delete(project)
    session.commit()
    assert [(name, new) for name, _, new in told.rows] == [("Task", None), ("Project", None)]


def test_more_rows_than_are_told_are_a_reset(
    session: Session, tasks: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snorky.backend.sqlalchemy.capture.MAX_ROWS", 2)
    session.execute(update(Task).values(votes=9))
    session.commit()
    assert told.rows == [("Task", None, None)]
    assert [task.votes for task in tasks] == [9, 9, 9]


def test_a_changed_key_is_a_reset(session: Session, tasks: Any, told: Told) -> None:
    session.execute(
        update(Task).where(Task.title == "a").values(id=100),
        execution_options={"synchronize_session": False},
    )
    session.commit()
    assert told.rows == [("Task", None, None)]


def test_parts_of_a_row_that_parents_hold_are_told(session: Session, told: Told) -> None:
    due = datetime(2031, 2, 3, 4, 5, tzinfo=UTC).replace(tzinfo=None)
    book = Book(price=Decimal("9.50"), due=due, pages=10)
    session.add(book)
    session.commit()
    told.clear()
    book.price, book.pages = Decimal("1.50"), 11
    session.commit()
    last = {name: new for name, _, new in told.rows}
    assert set(last) == {"Thing", "Book"}
    assert Decimal(last["Thing"]["price"]) == Decimal("1.50")
    assert (last["Book"]["pages"], last["Book"]["due"]) == (11, "2031-02-03T04:05:00")
    told.clear()
    session.delete(book)
    session.commit()
    assert {name for name, old, new in told.rows if old and not new} == {"Thing", "Book"}
    assert session.query(Item).count() == 0


def test_what_nobody_subscribes_to_costs_nothing(
    engine: Engine, session: Session, told: Told
) -> None:
    session.add(Note(text="a"))
    session.commit()
    session.execute(text("INSERT INTO notes (text) VALUES ('b')"))
    session.commit()
    assert told.rows == []


def test_a_row_that_cannot_be_rendered_is_a_reset_and_a_line_in_the_log(
    session: Session, told: Told, caplog: pytest.LogCaptureFixture, tasks: Any
) -> None:
    session.execute(update(Task).where(Task.title == "a").values(title="x" * (MAX_ROW_BYTES + 1)))
    session.commit()
    assert told.rows == [("Task", None, None)], "too large"
    told.clear()

    def broken(task: Task) -> Any:
        return [task.id]

    from snorky.backend.sqlalchemy import models

    known = models._subscribable[Task]
    models._subscribable[Task] = known._replace(render=broken)
    models._by_table.clear()
    try:
        session.execute(update(Task).where(Task.title == "b").values(title="B"))
        session.commit()
    finally:
        models._subscribable[Task] = known
        models._by_table.clear()
    assert told.rows == [("Task", None, None)]
    assert "a row of Task must be rendered as an object, got [" in caplog.text
    caplog.clear()


def test_a_key_that_went_with_its_savepoint_is_gathered_by_nobody(
    session: Session, engine: Engine, told: Told
) -> None:
    keys: list[str] = []
    before = gathered_keys.set(keys)
    with session.begin_nested() as savepoint:
        session.add(Task(title="a"))
        session.flush()
        savepoint.rollback()
    session.add(Task(title="b"))
    session.flush()
    with session.begin_nested() as savepoint:
        session.add(Task(title="c"))
        session.flush()
        savepoint.rollback()
    session.commit()
    gathered_keys.reset(before)
    columns = outbox_table.c
    with engine.connect() as connection:
        written = connection.scalars(select(columns.tx_key).order_by(columns.id)).all()
    assert [*written] == keys
    assert len(keys) == 1
