"""Applications that write a database with triggers, from several threads, in their own SQL."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import psycopg

from snorky.backend.outbox import keys, postgresql_triggers, sqlite_triggers
from tests.convergence.history import Rows
from tests.convergence.told import Changes
from tests.patience import patient

HISTORY = "CREATE TABLE history (key text, changes text)"
TABLE = "(id integer PRIMARY KEY, color text, n integer, team text)"
MODELS = ("Task", "Note")
FIELDS = ("id", "color", "n", "team")


class Sqlite:
    """One writer at a time; ``errors`` are what a write may end with."""

    parameter = "?"
    errors: tuple[type[Exception], ...] = (sqlite3.OperationalError,)

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path
        connection = self.connect()
        connection.execute("PRAGMA journal_mode = wal")
        for model in MODELS:
            connection.execute(f'CREATE TABLE "{model}" {TABLE}')
        self.prepare(connection)
        connection.close()

    def prepare(self, connection: Any) -> None:
        """Make what tells of changes, and what knows them."""
        connection.execute(HISTORY)
        sqlite_triggers.install(connection, MODELS)

    def committed(self, connection: Any) -> dict[str, Changes]:
        """By its key, what each transaction changed."""
        return _committed(connection)

    def connect(self) -> Any:
        return sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=patient(20)
        )

    def begin(self, connection: Any) -> None:
        connection.execute("BEGIN IMMEDIATE")

    def begin_snapshot(self, connection: Any) -> None:
        connection.execute("BEGIN")

    def bulk(self, connection: Any, chance: random.Random, model: str) -> list[tuple[int]]:
        return connection.execute(
            f'REPLACE INTO "{model}" SELECT id, color, n + 1, team FROM "{model}" WHERE n < 2'
            " RETURNING id"
        ).fetchall()


class Postgresql:
    """Writers beside each other; some of their transactions end in a deadlock."""

    parameter = "%s"
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: str) -> None:
        self.url = url
        connection = self.connect()
        connection.execute(f'CREATE TABLE "Task" {TABLE}')
        connection.execute(
            f'CREATE TABLE "Note" {TABLE} PARTITION BY HASH (id);'
            'CREATE TABLE note_0 PARTITION OF "Note" FOR VALUES WITH (MODULUS 2, REMAINDER 0);'
            'CREATE TABLE note_1 PARTITION OF "Note" FOR VALUES WITH (MODULUS 2, REMAINDER 1)'
        )
        self.prepare(connection)
        connection.close()

    def prepare(self, connection: Any) -> None:
        """Make what tells of changes, and what knows them."""
        connection.execute(HISTORY)
        postgresql_triggers.install(connection, MODELS)

    def committed(self, connection: Any) -> dict[str, Changes]:
        """By its key, what each transaction changed."""
        return _committed(connection)

    def connect(self) -> Any:
        return psycopg.connect(self.url, autocommit=True)

    def begin(self, connection: Any) -> None:
        connection.execute("BEGIN")

    def begin_snapshot(self, connection: Any) -> None:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def bulk(self, connection: Any, chance: random.Random, model: str) -> list[tuple[int]]:
        if chance.random() >= 0.15:
            return connection.execute(
                f'UPDATE "{model}" SET n = n + 1 WHERE n < 2 RETURNING id'
            ).fetchall()
        connection.execute(f'LOCK TABLE "{model}" IN ACCESS EXCLUSIVE MODE')
        emptied = connection.execute(f'SELECT id FROM "{model}"').fetchall()
        connection.execute(f'TRUNCATE "{model}"')
        return emptied


Database = Sqlite | Postgresql


def write(database: Database, connection: Any, chance: random.Random, keys_of_a_model: int) -> bool:
    """One transaction of several statements; false where the database refused it."""
    try:
        database.begin(connection)
        touched: set[tuple[str, int]] = set()
        for _ in range(chance.randint(1, 4)):
            touched |= _statement(database, connection, chance, keys_of_a_model)
        changes: Changes = [
            (model, number, _row(database, connection, model, number))
            for model, number in sorted(touched)
        ]
        (key,) = keys(connection)
        mark = database.parameter
        connection.execute(
            f"INSERT INTO history VALUES ({mark}, {mark})", (key, json.dumps(changes))
        )
        connection.execute("COMMIT" if chance.random() < 0.95 else "ROLLBACK")
    except database.errors:
        if not getattr(connection, "closed", False):
            connection.execute("ROLLBACK")
        return False
    return True


def _statement(
    database: Database, connection: Any, chance: random.Random, most: int
) -> set[tuple[str, int]]:
    """The rows that it changed, as the database says. These alone are locked until the commit: what
    is read there of a row that was not found to be deleted may be another transaction's."""
    model, number, mark = chance.choice(MODELS), chance.randint(1, most), database.parameter
    values = (number, chance.choice(["red", "blue"]), chance.randint(0, 3), chance.choice("ab"))
    if chance.random() < 0.1:
        changed = database.bulk(connection, chance, model)
    elif chance.random() < 0.25:
        changed = connection.execute(
            f'DELETE FROM "{model}" WHERE id = {mark} RETURNING id', (number,)
        ).fetchall()
    else:
        changed = connection.execute(
            f'INSERT INTO "{model}" VALUES ({mark}, {mark}, {mark}, {mark}) ON CONFLICT (id)'
            " DO UPDATE SET color = excluded.color, n = excluded.n, team = excluded.team"
            " RETURNING id",
            values,
        ).fetchall()
    return {(model, found) for (found,) in changed}


def _row(database: Database, connection: Any, model: str, number: int) -> Any:
    found = connection.execute(
        f'SELECT id, color, n, team FROM "{model}" WHERE id = {database.parameter}', (number,)
    ).fetchone()
    return None if found is None else dict(zip(FIELDS, found, strict=True))


def read(database: Database, connection: Any) -> Rows:
    """All tables, in one snapshot."""
    database.begin_snapshot(connection)
    try:
        return {
            (model, row[0]): dict(zip(FIELDS, row, strict=True))
            for model in MODELS
            for row in connection.execute(f'SELECT id, color, n, team FROM "{model}"').fetchall()
        }
    finally:
        connection.execute("ROLLBACK")


def _committed(connection: Any) -> dict[str, Changes]:
    found = connection.execute("SELECT key, changes FROM history").fetchall()
    return {key: [tuple(change) for change in json.loads(changes)] for key, changes in found}
