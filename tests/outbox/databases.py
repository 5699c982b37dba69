"""One interface to both databases, for tests that hold for both."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from snorky.backend.outbox import postgresql_triggers, sqlite_triggers
from snorky.backend.outbox.postgresql_reader import PostgresqlReader
from snorky.backend.outbox.reading import Entry, Reader, Rendering
from snorky.backend.outbox.sqlite_reader import SqliteReader


class Database(ABC):
    """``connection`` commits each statement; ``connect`` opens another."""

    url: str
    module: Any
    connection: Any

    @abstractmethod
    def connect(self) -> Any: ...

    @abstractmethod
    def reader(self, place: Any = None, rendering: Rendering | None = None) -> Reader: ...

    def execute(self, *statements: str) -> list[Any]:
        """Run statements, each in a transaction of its own; returns the rows of the last."""
        found: list[Any] = []
        for statement in statements:
            cursor = self.connection.execute(statement)
            found = cursor.fetchall() if cursor.description else []
        return found

    def transaction(self, *statements: str) -> None:
        self.execute("BEGIN", *statements, "COMMIT")

    def install(self, *tables: str, **options: int) -> None:
        self.module.install(self.connection, tables, **options)

    def remove(self, *tables: str) -> None:
        self.module.remove(self.connection, tables)

    def status(self, *tables: str) -> Any:
        return self.module.status(self.connection, tables)

    def close(self) -> None:
        self.connection.close()


class SqliteDatabase(Database):
    module = sqlite_triggers

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.connection = self.connect()
        self.connection.execute("PRAGMA journal_mode = wal")

    def connect(self, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, **options)

    def reader(self, place: Any = None, rendering: Rendering | None = None) -> Reader:
        return SqliteReader(self.connection, rendering or Rendering(), place)


class PostgresqlDatabase(Database):
    module = postgresql_triggers

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = self.connect()

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def reader(self, place: Any = None, rendering: Rendering | None = None) -> Reader:
        return PostgresqlReader(self.connection, rendering or Rendering(), place)


def begun(reader: Reader) -> list[Entry]:
    """What it tells before it reads."""
    return [entry for step in reader.begin() for entry in step.entries]


def told(reader: Reader) -> list[Entry]:
    """What one pass tells, all of it accepted."""
    return [entry for step in reader.read() for entry in step.entries]


def deltas(entries: list[Entry]) -> list[list[Mapping[str, Any]]]:
    """The deltas of each entry."""
    return [json.loads(entry.deltas) for entry in entries]


def insert(model: str, **data: Any) -> dict[str, Any]:
    return {"type": "insert", "model": model, "data": data}


def delete(model: str, **data: Any) -> dict[str, Any]:
    return {"type": "delete", "model": model, "data": data}


def update(model: str, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {"type": "update", "model": model, "newData": new, "oldData": old}


def reset(model: str) -> dict[str, Any]:
    return {"type": "reset", "model": model}
