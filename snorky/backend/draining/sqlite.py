"""The outbox of SQLite: it is only read, so that no writer of the application waits for us.

The turn is the lock of a file beside the database, which all who write it share a machine with.
How far has been told is a place: in Snorky's log where there is a source, else in that file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from snorky.backend.draining.entries import Found, entry_of_rows
from snorky.backend.entries import MAX_ENTRY_BYTES, new_key
from snorky.backend.exchange import snorky_log

POLL_SECONDS = 0.02
SUFFIX = "-snorky"

_SIZE = """
SELECT max(id), sum(ifnull(length(CAST(old_data AS BLOB)), 0)
    + ifnull(length(CAST(new_data AS BLOB)), 0) + 100)
FROM snorky_outbox WHERE id > ?
"""
_ROWS = """
SELECT model, old_data, new_data, tx_key FROM snorky_outbox WHERE id > ? AND id <= ? ORDER BY id
"""
_MODELS = """
SELECT DISTINCT model, NULL, NULL, tx_key FROM snorky_outbox WHERE id > ? AND id <= ?
"""


class SQLiteOutbox:
    """``models`` gives the names of all that is told here, for when some of it is lost."""

    def __init__(self, file: str | os.PathLike[str], models: Callable[[], Iterable[str]]) -> None:
        self._path = Path(file)
        self._models = models

    @contextmanager
    def turn(self, patience: float) -> Iterator[SQLiteTurn | None]:
        lock = self._path.with_name(self._path.name + SUFFIX)
        with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
            ends = time.monotonic() + patience
            while not _try_lock(file):
                if time.monotonic() > ends:
                    yield None
                    return
                time.sleep(POLL_SECONDS)
            try:
                yield SQLiteTurn(file, self._read)
            finally:
                _unlock(file)

    def waits(self, place: Any) -> bool:
        with self._connected() as connection:
            [newest] = connection.execute("SELECT max(id) FROM snorky_outbox").fetchone()
        # An older one, too: a file that was copied back.
        return bool((newest or 0) != (0 if place is None else place.get("id")))

    def close(self) -> None:
        """Nothing is open between turns."""

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")  # one view of all that is read
            yield connection
            connection.rollback()

    def _read(self, place: Any) -> list[Found]:
        """All that is there after a place, as one entry: whole transactions, none of them known.

        Read and let go at once: a reader keeps writers from committing.
        """
        with self._connected() as connection:
            state = dict(connection.execute("SELECT name, value FROM snorky_outbox_state"))
            stands = place is not None and _stands(connection, place, state)
            after = place["id"] if stands else 0
            newest, size = connection.execute(_SIZE, [after]).fetchone()
            lost = not stands and (place is not None or state["trimmed"] > 0)
            if newest is None and not lost:
                return []
            newest = newest or 0
            nonce = _nonce(connection, newest)
            whole = size is not None and size <= MAX_ENTRY_BYTES
            rows = connection.execute(_ROWS if whole else _MODELS, [after, newest]).fetchall()
        key = f"{state['born']}:{after}:{newest}:{nonce}"
        if lost:
            snorky_log.warning("Rows of the outbox may have been missed: lists fetch anew")
            key = new_key()  # some of these rows may have been told by the other
            rows = [(model, None, None, None) for model in self._models()] + [
                (model, None, None, key) for model, _, _, key in rows
            ]
        place = {"born": state["born"], "id": newest, "nonce": nonce}
        return [Found(entry_of_rows(key, rows), place)]


def _stands(connection: sqlite3.Connection, place: Any, state: dict[str, Any]) -> bool:
    """Whether all that came after a place is there: not so in a file that was copied back."""
    if place.get("born") != state["born"] or place["id"] < state["trimmed"]:
        return False
    known = place.get("nonce")
    return known is None or _nonce(connection, place["id"]) in (
        {known, None} if place["id"] == state["trimmed"] else {known}
    )


def _nonce(connection: sqlite3.Connection, number: int) -> int | None:
    found = connection.execute("SELECT nonce FROM snorky_outbox WHERE id = ?", [number]).fetchone()
    return None if found is None else int(found[0])


class SQLiteTurn:
    def __init__(self, file: IO[str], read: Callable[[Any], list[Found]]) -> None:
        self._file = file
        self.read = read
        try:
            self.state: dict[str, Any] = json.loads(file.read() or "{}")
        except ValueError:  # half written, when the machine stopped
            self.state = {}

    def save(self, state: dict[str, Any]) -> None:
        self.state = state
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(state))
        self._file.flush()

    def forget(self, found: Sequence[Found]) -> None:
        """The table trims itself."""


if sys.platform != "win32":
    import fcntl

    def _try_lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)

else:
    import msvcrt

    FAR = 2**30  # beyond what is written: there, a lock keeps others from reading

    def _try_lock(file: IO[str]) -> bool:
        try:
            os.lseek(file.fileno(), FAR, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(file.fileno(), 0, os.SEEK_SET)
        return True

    def _unlock(file: IO[str]) -> None:
        os.lseek(file.fileno(), FAR, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
