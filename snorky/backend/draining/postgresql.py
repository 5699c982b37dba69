"""The outbox of PostgreSQL: the turn is the lock of a row, and what was told is deleted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from snorky.backend.draining.entries import Found, entry_of_rows
from snorky.backend.entries import MAX_ENTRY_BYTES, Change, new_key
from snorky.backend.exchange import snorky_log
from snorky.backend.outbox.reading import STEP_ENTRIES, entry_of

POLL_SECONDS = 0.02
ASLEEP_SECONDS = 10
"""A drainer that was suspended for longer loses its connection, and with it the lock."""

Execute = Callable[..., Sequence[Sequence[Any]]]
"""``execute(sql, **parameters)``: runs a statement with parameters ``:name``; its rows, if any."""

MOST_FOUND = 20_000
"""Transactions that are looked for at once, by their numbers: of more the outbox is read again."""

_TRANSACTIONS = f"""
SELECT xid::text, min(id), max(id), snorky_key_of(xid, max(made_at)),
    sum(coalesce(octet_length(old_data), 0) + coalesce(octet_length(new_data), 0) + 100)
FROM snorky_outbox GROUP BY xid ORDER BY max(id) LIMIT {MOST_FOUND}
"""  # noqa: S608 a number
# Between its numbers, which have an index: else each of many that wait would be looked for in all.
_OF_ONE = (
    "FROM snorky_outbox WHERE id BETWEEN :low AND :high AND xid = CAST(CAST(:xid AS text) AS xid8)"
)
_ROWS = f"SELECT model, old_data, new_data, tx_key {_OF_ONE} ORDER BY id"
_MODELS = f"SELECT DISTINCT model, CAST(NULL AS text), CAST(NULL AS text), tx_key {_OF_ONE}"
# Another one where the database was restored, or a standby was promoted; and the newest number.
_IDENTITY = """
concat_ws(' ', (SELECT system_identifier FROM pg_control_system()),
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), CAST('snorky_outbox' AS regclass)::oid,
    (SELECT value FROM snorky_outbox_state WHERE name = 'born')),
coalesce(pg_sequence_last_value(
    CAST(pg_get_serial_sequence('snorky_outbox', 'id') AS regclass)), 0)
"""
_WAITS = "SELECT EXISTS (SELECT FROM snorky_outbox)"
_STATE = "FROM snorky_outbox_state WHERE name = 'drainer'"
_IS_MEASURED = "EXISTS (SELECT FROM snorky_outbox_sizes)"
# What is gone counts no more: else it would be full for ever.
_MEASURE_AGAIN = (
    "DELETE FROM snorky_outbox_sizes s"
    " WHERE NOT EXISTS (SELECT FROM snorky_outbox o WHERE o.id = s.id)",
    "SELECT setval('snorky_outbox_full', 0) FROM snorky_outbox_full WHERE last_value = 1",
)


class PostgreSQLOutbox:
    """``transaction()`` is a block with a transaction of a connection that is the drainer's own.

    ``models`` gives the names of all that is told here, for when some of it is lost.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Execute]],
        close: Callable[[], None],
        models: Callable[[], Iterable[str]],
    ) -> None:
        self._transaction = transaction
        self._close = close
        self._models = models
        self._transactions: list[Sequence[Any]] = []

    @contextmanager
    def turn(self, patience: float) -> Iterator[PostgreSQLTurn | None]:
        ends = time.monotonic() + patience
        while True:
            with self._transaction() as execute:
                # Each statement sees what has committed before it, and so all that the one who
                # had the turn before has deleted.
                execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                execute(f"SET LOCAL idle_in_transaction_session_timeout = '{ASLEEP_SECONDS}s'")
                locked = _locked(execute)
                if locked is not None:
                    yield PostgreSQLTurn(execute, *locked, self._models, self._transactions)
                    return
            if time.monotonic() > ends:
                break
            time.sleep(POLL_SECONDS)
        yield None

    def waits(self, place: Any) -> bool:
        with self._transaction() as execute:
            [(some, *now)] = execute(f"{_WAITS}, {_IDENTITY}")
            return bool(some) or not _stands(place, *now)

    def close(self) -> None:
        self._transactions.clear()  # some may have been told, and the rest not be all
        self._close()


class PostgreSQLTurn:
    """``transactions``: those that were found before, and have not been told since.

    As long as one drainer has the turn nobody else tells them, and none that comes precedes them:
    what they depend on was there when they were.
    """

    def __init__(
        self,
        execute: Execute,
        state: str,
        identity: str,
        newest: int,
        is_measured: bool,
        models: Callable[[], Iterable[str]],
        transactions: list[Sequence[Any]],
    ) -> None:
        self.state: dict[str, Any] = json.loads(state)
        self._execute = execute
        self._identity = identity
        self._newest = newest
        self._is_measured = is_measured
        self._models = models
        self._transactions = transactions

    def save(self, state: dict[str, Any]) -> None:
        if state.get("holder") != self.state.get("holder"):
            self._transactions.clear()
        self.state = state
        self._execute(
            "UPDATE snorky_outbox_state SET value = :value WHERE name = 'drainer'",
            value=json.dumps(state),
        )

    def read(self, place: Any) -> Iterator[Found]:
        """By the largest id of each transaction: the order of writes that conflict.

        What becomes visible while this reads belongs to other transactions, and comes next time.
        """
        told = 0 if place is None else place.get("newest", 0)
        if not _stands(place, self._identity, self._newest):
            snorky_log.warning("Rows of the outbox may have been missed: lists fetch anew")
            self._transactions.clear()
            told = self._newest
            resets = [Change(model) for model in self._models()]
            yield Found(entry_of(new_key(), resets), self._place(told))
        if not self._transactions:
            self._transactions += self._execute(_TRANSACTIONS)
            if self._is_measured and not self._transactions:
                for statement in _MEASURE_AGAIN:
                    self._execute(statement)
        for xid, low, high, key, size in self._transactions[:STEP_ENTRIES]:
            which = {"xid": xid, "low": low, "high": high}
            rows = self._execute(_ROWS if size <= MAX_ENTRY_BYTES else _MODELS, **which)
            told = max(told, high)
            yield Found(entry_of_rows(key, rows), self._place(told), which)

    def forget(self, found: Sequence[Found]) -> None:
        told = [each.rows for each in found if each.rows is not None]
        for which in told:
            self._execute(f"DELETE {_OF_ONE}", **which)
        del self._transactions[: len(told)]

    def _place(self, told: int) -> dict[str, Any]:
        return {"identity": self._identity, "newest": told}


def _stands(place: Any, identity: str, newest: int) -> bool:
    """Whether this is the database that a place was left in, and no older one."""
    if place is None:
        return True  # a new log, whose pages have fetched since
    return bool(place.get("identity") == identity and place.get("newest", 0) <= newest)


def _locked(execute: Execute) -> tuple[str, str, int, bool] | None:
    """What the last one left, locked, and which database it is; None while others have it."""
    if not execute(f"SELECT value {_STATE}"):
        execute(
            "INSERT INTO snorky_outbox_state VALUES ('drainer', '{}') ON CONFLICT (name) DO NOTHING"
        )
    rows = execute(f"SELECT value, {_IDENTITY}, {_IS_MEASURED} {_STATE} FOR UPDATE SKIP LOCKED")
    if not rows:
        return None
    [(state, identity, newest, is_measured)] = rows
    return state, identity, newest, is_measured
