"""Mapped classes, and engines of SQLite and PostgreSQL with an outbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, create_engine, event, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from snorky.backend.sqlalchemy import Outbox, create_outbox, subscribable
from snorky.backend.sqlalchemy.writing import outbox_table
from tests.servers import Postgres


class Base(DeclarativeBase):
    pass


@subscribable
class Project(Base):
    __tablename__ = "projects"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    tasks: Mapped[list[Task]] = relationship(
        cascade="all, delete-orphan", back_populates="project", order_by="Task.id"
    )


@subscribable(render=lambda task: {"id": task.id, "title": task.title, "votes": task.votes})
class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    votes: Mapped[int] = mapped_column(default=0)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    project: Mapped[Project | None] = relationship(back_populates="tasks")


@subscribable(name="Thing")
class Item(Base):
    """A parent, with columns that JSON lacks."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    price: Mapped[Decimal | None]
    due: Mapped[datetime | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "item"}


@subscribable
class Book(Item):
    """A child with a table of its own."""

    __tablename__ = "books"
    id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    pages: Mapped[int] = mapped_column(default=1)
    __mapper_args__ = {"polymorphic_identity": "book"}


class Note(Base):
    """Nobody is told about notes."""

    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Told:
    """What stands in the outbox."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def rows(self) -> list[tuple[str, Any, Any]]:
        columns = outbox_table.c
        with self._engine.connect() as connection:
            found = connection.execute(
                select(columns.model, columns.old_data, columns.new_data).order_by(columns.id)
            )
            return [(model, _row(old), _row(new)) for model, old, new in found]

    @property
    def titles(self) -> list[tuple[Any, Any]]:
        return [(old and old["title"], new and new["title"]) for _, old, new in self.rows]

    def clear(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(text("DELETE FROM snorky_outbox"))


def _row(value: str | None) -> Any:
    return None if value is None else json.loads(value)


@pytest.fixture(scope="module")
def postgres_of_module(postgres_server: Postgres) -> Iterator[str]:
    postgres_server.start()
    with postgres_server.database() as url:
        yield url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path}/app.sqlite3")
        event.listen(engine, "connect", _synchronous_off)
    else:
        engine = create_engine(request.getfixturevalue("postgres_of_module"))
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
        create_outbox(connection)
        connection.execute(text("DELETE FROM snorky_outbox"))
    yield engine
    engine.dispose()


def _synchronous_off(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture
def told(engine: Engine) -> Told:
    """The outbox, which nobody reads but the test."""
    Outbox(engine, "http://127.0.0.1:1/backend", "key", drain=False)
    return Told(engine)


@pytest.fixture
def session(engine: Engine, told: Told) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture
def tasks(session: Session, told: Told) -> list[Task]:
    tasks = [Task(title=title, votes=number) for number, title in enumerate("abc")]
    session.add_all(tasks)
    session.commit()
    told.clear()
    return tasks
