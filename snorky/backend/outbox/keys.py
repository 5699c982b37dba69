"""The keys of a transaction, for whoever answers the page that caused it."""

from __future__ import annotations

from typing import Any

from snorky.backend.entries import new_key


def keys(connection: Any) -> list[str]:
    """Return the keys of the transaction that a connection is in, for the header `X-Snorky-Keys`.

    To be called before it commits. ``connection`` is of sqlite3 or psycopg, of Django, or of
    SQLAlchemy (a Connection or a Session). Without a transaction the key stands for all that was
    committed before. A transaction that may only read has none.
    """
    dialect, cursor = _cursor_of(connection)
    try:
        if dialect == "sqlite":
            key = new_key()
            cursor.execute(f"INSERT INTO snorky_outbox (tx_key) VALUES ('{key}')")
            return [key]
        cursor.execute("SELECT snorky_key()")
        (found,) = cursor.fetchone()
        return [] if found is None else [found]
    finally:
        cursor.close()


def _cursor_of(connection: Any) -> tuple[str, Any]:
    if hasattr(connection, "get_bind"):  # a Session of SQLAlchemy
        connection = connection.connection()
    if hasattr(connection, "vendor"):  # Django
        return str(connection.vendor), connection.cursor()
    dialect = getattr(connection, "dialect", None)
    if dialect is not None:
        return str(dialect.name), connection.connection.cursor()
    module = type(connection).__module__.partition(".")[0]
    return ("sqlite" if "sqlite" in module else "postgresql"), connection.cursor()
