"""Making and removing the outbox in a database of the project."""

import sqlite3
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from snorky.backend.outbox.table import (
    create_postgresql,
    create_sqlite,
    drop_postgresql,
    drop_sqlite,
)


def create_outbox(apps: Any, editor: Any) -> None:
    """For a migration. Does nothing where a database cannot have an outbox."""
    if can_have_outbox(editor.connection):
        make_outbox(editor.connection)


def drop_outbox(apps: Any, editor: Any) -> None:
    connection = editor.connection
    if can_have_outbox(connection):
        postgresql = connection.vendor == "postgresql"
        _execute(connection, drop_postgresql(_schema(connection)) if postgresql else drop_sqlite())


def make_outbox(connection: BaseDatabaseWrapper) -> None:
    """Make the outbox; what is there already is kept."""
    postgresql = connection.vendor == "postgresql"
    _execute(connection, create_postgresql(_schema(connection)) if postgresql else create_sqlite())


def can_have_outbox(connection: BaseDatabaseWrapper) -> bool:
    """Whether it is PostgreSQL, or SQLite from 3.38 on."""
    if connection.vendor == "sqlite":
        return sqlite3.sqlite_version_info >= (3, 38)
    return connection.vendor == "postgresql"


def _schema(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        [schema] = cursor.fetchone()
    return str(schema)


def _execute(connection: BaseDatabaseWrapper, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
