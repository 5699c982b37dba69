"""A site by SQLAlchemy alone."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import psycopg
from sqlalchemy import (
    Engine,
    bindparam,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.datasync import DataSync
from snorky.backend.outbox import keys
from snorky.backend.sqlalchemy import BlockingLists, LiveQuery, Outbox, subscribable
from tests.convergence.orm.database import NAME_THE_KEY
from tests.convergence.orm.worker import Site, number, values
from tests.patience import patient


class Base(DeclarativeBase):
    pass


class Row:
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    color: Mapped[str]
    n: Mapped[int]
    team: Mapped[str]


@subscribable
class Task(Row, Base):
    __tablename__ = "Task"


@subscribable
class Note(Row, Base):
    __tablename__ = "Note"


MAPPED: list[Any] = [Task, Note]
ERRORS = (SQLAlchemyError, psycopg.Error, sqlite3.Error)


def make_site(database_url: str, backend_url: str) -> Site:
    if database_url.startswith("sqlite"):
        engine = create_engine(database_url, connect_args={"timeout": patient(20)})
        event.listen(engine, "connect", _without_transactions)
        event.listen(engine, "begin", _begin)
    else:
        url = database_url.replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(url, pool_pre_ping=True)
    transport = SnorkyHTTPTransport(backend_url, "swordfish", timeout=patient(2))
    return SqlalchemySite(engine, backend_url, transport)


def _without_transactions(connection: Any, _: Any) -> None:
    # The driver's own begin too late, and break savepoints.
    connection.isolation_level = None


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")


class SqlalchemySite:
    def __init__(self, engine: Engine, backend_url: str, transport: SnorkyHTTPTransport) -> None:
        self._engine = engine
        self._outbox = Outbox(engine, backend_url, "swordfish")
        self._lists = BlockingLists(DataSync(SnorkyBackend(transport)), self._outbox)
        self._statements = [
            *(self._merge, self._merge, self._change, self._delete, self._delete_some),
            *(self._update, self._add_all, self._update_many, self._insert, self._core),
        ]

    def answer(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        name = environ["PATH_INFO"].removeprefix("/")
        mapped = next(each for each in MAPPED if each.__name__ == name)
        (wish,) = parse_qs(environ["QUERY_STRING"])["filter"]
        headers = {"X-Snorky": environ.get("HTTP_X_SNORKY", "")}
        with self._lists.read(headers) as reading:
            query = LiveQuery(mapped, None, wish, dealer=f"{name}s")
            reading.subscribe(query.items)
            with Session(self._engine) as session:
                rows = [_shown(row) for row in session.scalars(query.statement)]
        start_response("200 OK", list(reading.headers.items()))
        return [json.dumps(rows).encode()]

    def write(self, chance: random.Random) -> None:
        with suppress(*ERRORS), Session(self._engine) as session, session.begin():
            for _ in range(chance.randint(1, 4)):
                self._statement(session, chance)
            session.flush()
            (key,) = keys(session)
            session.execute(text(NAME_THE_KEY.format(":key")), {"key": key})
            if chance.random() < 0.05:
                session.rollback()

    def drained(self, seconds: float) -> bool:
        assert self._outbox.drainer is not None
        return self._outbox.drainer.drained(seconds)

    def _statement(self, session: Session, chance: random.Random) -> None:
        if chance.random() < 0.7:
            self._one(session, chance)
            return
        with session.begin_nested() as savepoint:
            self._one(session, chance)
            session.flush()
            if chance.random() < 0.5:
                savepoint.rollback()
            else:
                self._one(session, chance)

    def _one(self, session: Session, chance: random.Random) -> None:
        chance.choice(self._statements)(session, chance.choice(MAPPED), chance)

    # Statements

    def _merge(self, session: Session, mapped: Any, chance: random.Random) -> None:
        session.merge(mapped(id=number(chance), **values(chance)))

    def _change(self, session: Session, mapped: Any, chance: random.Random) -> None:
        row = session.get(mapped, number(chance))
        if row is not None:
            row.color = chance.choice(["red", "blue"])

    def _delete(self, session: Session, mapped: Any, chance: random.Random) -> None:
        row = session.get(mapped, number(chance))
        if row is not None:
            session.delete(row)

    def _delete_some(self, session: Session, mapped: Any, chance: random.Random) -> None:
        session.execute(delete(mapped).where(mapped.n == 3, mapped.team == chance.choice("ab")))

    def _update(self, session: Session, mapped: Any, chance: random.Random) -> None:
        session.execute(update(mapped).where(mapped.n < 2).values(n=mapped.n + 1))

    def _add_all(self, session: Session, mapped: Any, chance: random.Random) -> None:
        session.add_all(
            [mapped(id=n, **values(chance)) for n in self._free(session, mapped, chance)]
        )

    def _update_many(self, session: Session, mapped: Any, chance: random.Random) -> None:
        rows = [{"id": number(chance), "n": chance.randint(0, 3)} for _ in range(2)]
        there = set(session.scalars(select(mapped.id)))
        if found := [row for row in rows if row["id"] in there]:
            session.execute(update(mapped), found)

    def _insert(self, session: Session, mapped: Any, chance: random.Random) -> None:
        rows = [{"id": n, **values(chance)} for n in self._free(session, mapped, chance)]
        if rows:
            session.execute(insert(mapped), rows)

    def _core(self, session: Session, mapped: Any, chance: random.Random) -> None:
        """By the connection, of one row; sometimes a changed key, which cannot be told."""
        table, connection = mapped.__table__, session.connection()
        session.flush()
        where = table.c.id == bindparam("which")
        connection.execute(
            update(table).where(where).values(**values(chance)), {"which": number(chance)}
        )
        free = self._free(session, mapped, chance)
        if free and chance.random() < 0.2:
            connection.execute(update(table).where(where).values(id=free[0]), {"which": 1})

    def _free(self, session: Session, mapped: Any, chance: random.Random) -> list[int]:
        there = set(session.scalars(select(mapped.id)))
        return sorted({number(chance), number(chance)} - there)


def _shown(row: Any) -> dict[str, Any]:
    return {"id": row.id, "color": row.color, "n": row.n, "team": row.team}
