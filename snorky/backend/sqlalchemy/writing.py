"""Rows of the outbox, written by the connection that changes the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, Text, event

from snorky.backend.entries import Change, new_key
from snorky.backend.outbox.table import MAX_ROW_BYTES, OUTBOX

WROTE = "snorky_wrote"

gathered_keys: ContextVar[list[str] | None] = ContextVar("snorky_gathered_keys", default=None)
"""Where the keys of what is written are gathered for a response. None: nobody gathers them."""

outbox_table = Table(
    OUTBOX,
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("model", Text),
    Column("old_data", Text),
    Column("new_data", Text),
    Column("tx_key", Text),
)
"""As much of it as is written; the database makes the rest."""


class Wrote:
    """Whether the transaction of a connection has written, by which keys, and who gathers them.

    ``kept`` has how many of them there were at each savepoint: the others go with it.
    """

    def __init__(self) -> None:
        self.something = False
        self.keys: list[tuple[list[str], str]] = []
        self.kept: list[int] = []


def write(connection: Connection, changes: Iterable[Change]) -> None:
    """Write changes into the outbox, as part of the connection's transaction."""
    rows = [_row(change) for change in changes]
    if not rows:
        return
    wrote = _wrote(connection)
    wrote.something = True
    gathered = gathered_keys.get()
    if gathered is not None and not wrote.keys:
        rows[0]["tx_key"] = new_key()
        wrote.keys.append((gathered, rows[0]["tx_key"]))
    connection.execute(outbox_table.insert().inline(), rows)


def call_after_commit(engine: Engine, committed: Callable[[], None]) -> None:
    """Call ``committed`` after each commit of a transaction that wrote the outbox.

    SQLAlchemy tells of a commit before it is done. Its dialect does it.
    """
    dialect: Any = engine.dialect
    do_commit = dialect.do_commit

    def commit_and_tell(dbapi_connection: Any) -> None:
        do_commit(dbapi_connection)
        wrote = getattr(dbapi_connection, "info", {}).pop(WROTE, None)
        if wrote is not None and wrote.something:
            for gathered, key in wrote.keys:
                gathered.append(key)
            committed()

    dialect.do_commit = commit_and_tell
    event.listen(engine, "rollback", lambda connection: connection.info.pop(WROTE, None))
    # None of them has a name here yet: they are counted.
    event.listen(engine, "savepoint", _begin_savepoint)
    event.listen(engine, "release_savepoint", lambda connection, *_: _wrote(connection).kept.pop())
    event.listen(engine, "rollback_savepoint", _undo_savepoint)


def _begin_savepoint(connection: Connection, *_: Any) -> None:
    wrote = _wrote(connection)
    wrote.kept.append(len(wrote.keys))


def _undo_savepoint(connection: Connection, *_: Any) -> None:
    wrote = _wrote(connection)
    del wrote.keys[wrote.kept.pop() :]


def _wrote(connection: Connection) -> Wrote:
    wrote: Wrote = connection.info.setdefault(WROTE, Wrote())
    return wrote


def _row(change: Change) -> dict[str, Any]:
    texts = [change.before, change.after]
    if any(text is not None and len(text.encode()) > MAX_ROW_BYTES for text in texts):
        texts = [None, None]
    return {"model": change.model, "old_data": texts[0], "new_data": texts[1], "tx_key": None}
