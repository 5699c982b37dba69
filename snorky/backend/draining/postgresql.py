"""The outbox of PostgreSQL: the turn is the lock of a row, and what was told is deleted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from snorky.backend.draining.entries import Entry
from snorky.backend.entries import MAX_ENTRY_BYTES

POLL_SECONDS = 0.02
ASLEEP_SECONDS = 10
"""A drainer that was suspended for longer loses its connection, and with it the lock."""

Execute = Callable[..., Sequence[Sequence[Any]]]
"""``execute(sql, **parameters)``: runs a statement with parameters ``:name``; its rows, if any."""

_TRANSACTIONS = """
SELECT xid::text, min(id), max(id), snorky_key_of(xid, max(made_at)),
    sum(coalesce(octet_length(old_data), 0) + coalesce(octet_length(new_data), 0) + 100)
FROM snorky_outbox GROUP BY xid ORDER BY max(id) LIMIT 500
"""
# Between its numbers, which have an index: else each of many that wait would be looked for in all.
_OF_ONE = (
    "FROM snorky_outbox WHERE id BETWEEN :low AND :high AND xid = CAST(CAST(:xid AS text) AS xid8)"
)
_ROWS = f"SELECT model, old_data, new_data, tx_key {_OF_ONE} ORDER BY id"
_MODELS = f"SELECT DISTINCT model, CAST(NULL AS text), CAST(NULL AS text), tx_key {_OF_ONE}"


class PostgreSQLOutbox:
    """``transaction()`` is a block with a transaction of a connection that is the drainer's own."""

    has_places = False

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Execute]],
        close: Callable[[], None],
    ) -> None:
        self._transaction = transaction
        self._close = close

    @contextmanager
    def turn(self, patience: float) -> Iterator[PostgreSQLTurn | None]:
        ends = time.monotonic() + patience
        while True:
            with self._transaction() as execute:
                # Each statement sees what has committed before it, and so all that the one who
                # had the turn before has deleted.
                execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                execute(f"SET LOCAL idle_in_transaction_session_timeout = '{ASLEEP_SECONDS}s'")
                state = _locked_state(execute)
                if state is not None:
                    yield PostgreSQLTurn(execute, state)
                    return
            if time.monotonic() > ends:
                break
            time.sleep(POLL_SECONDS)
        yield None

    def waits(self, place: Any) -> bool:
        with self._transaction() as execute:
            return bool(execute("SELECT id FROM snorky_outbox LIMIT 1"))

    def close(self) -> None:
        self._close()


class PostgreSQLTurn:
    def __init__(self, execute: Execute, state: dict[str, Any]) -> None:
        self.state = state
        self._execute = execute

    def save(self, state: dict[str, Any]) -> None:
        self.state = state
        self._execute(
            "UPDATE snorky_outbox_state SET value = :value WHERE name = 'drainer'",
            value=json.dumps(state),
        )

    def read(self, place: Any) -> Iterator[Entry]:
        """By the largest id of each transaction: the order of writes that conflict.

        What becomes visible while this reads belongs to other transactions, and comes next time.
        """
        for xid, low, high, key, size in self._execute(_TRANSACTIONS):
            which = {"xid": xid, "low": low, "high": high}
            rows = self._execute(_ROWS if size <= MAX_ENTRY_BYTES else _MODELS, **which)
            yield Entry.of(key, rows, which)

    def forget(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._execute(f"DELETE {_OF_ONE}", **entry.told)


def _locked_state(execute: Execute) -> dict[str, Any] | None:
    """What the last one left, locked; None while others have it locked."""
    of = "FROM snorky_outbox_state WHERE name = 'drainer'"
    if not execute(f"SELECT value {of}"):
        execute(
            "INSERT INTO snorky_outbox_state VALUES ('drainer', '{}') ON CONFLICT (name) DO NOTHING"
        )
    rows = execute(f"SELECT value {of} FOR UPDATE SKIP LOCKED")
    state: dict[str, Any] | None = json.loads(rows[0][0]) if rows else None
    return state
