"""Reading the outbox of SQLite: without a write, from a place that is kept in the log.

An entry is all that one consistent read shows: a run of whole transactions, in the order in which
they were committed, since SQLite lets one write at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from snorky.backend.entries import MAX_ENTRY_BYTES, new_key
from snorky.backend.exchange import snorky_log
from snorky.backend.outbox.installation import Condition, Table
from snorky.backend.outbox.reading import (
    Entry,
    Lost,
    Reader,
    Rendering,
    Row,
    Step,
    entry_of,
    reset_entry,
)
from snorky.backend.outbox.sqlite_triggers import is_installed, tables_of

MOST_ROWS = 20_000
"""More never fit in an entry."""


class SqliteReader(Reader):
    """``connection`` is in autocommit mode; ``place`` is what the lease came with."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rendering: Rendering,
        place: Any = None,
        models: Iterable[str] = (),
    ) -> None:
        self.rendering = rendering
        self.place: dict[str, Any] = {}
        self._connection = connection
        self._known = place if isinstance(place, dict) else None
        self._models = set(models)
        """Beside the tables with triggers: what an ORM writes."""
        self._tables: dict[str, Table] = {}
        self._booleans: dict[str, re.Pattern[bytes]] = {}
        self._schema_version = -1

    def begin(self) -> Iterator[Step]:
        """Find the place, and tell a reset where rows may have gone that nobody read."""
        with self._snapshot():
            missed = self._find_place()
        if missed:
            snorky_log.warning("Rows of the outbox may have been missed: lists fetch anew")
            yield from self.reset(self._all_tables())

    def _find_place(self) -> bool:
        """Returns whether rows may have been missed before it."""
        known = self._known
        born, trimmed, first = self._life()
        self.place = {"born": born, "id": first - 1, "nonce": None}
        self._learn_tables()
        if known is None:
            # A new log: what was told to an older one is told again, but some may have gone.
            return trimmed > 0
        if known.get("born") != born or not self._stands(known, trimmed):
            return True
        self.place |= {"id": known["id"], "nonce": known["nonce"]}
        return bool(known.get("schema") != self.place["schema"])

    def read(self) -> Iterator[Step]:
        if self._version() != self._schema_version:
            yield from self.check()
        entry, place, rows = self._next()
        if entry is not None:
            self.waiting = rows
            yield Step([entry], place, rows)
            self.place = place
            self.waiting, self.oldest = 0, None

    def check(self) -> Iterator[Step]:
        before = self._tables
        with self._snapshot():
            self._learn_tables()
        names = {
            name
            for name in before.keys() | self._tables.keys()
            if before.get(name) != self._tables.get(name)
            or self._tables[name].condition is Condition.MISSING
        }
        yield from self.reset(sorted(names))

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def _next(self) -> tuple[Entry | None, Any, int]:
        place = self.place
        with self._snapshot():
            born, trimmed, _ = self._life()
            if born != place["born"] or (place["nonce"] and not self._stands(place, trimmed)):
                raise Lost("The outbox is another one than before")
            (newest,) = self._connection.execute(
                "SELECT ifnull(max(id), 0) FROM snorky_outbox"
            ).fetchone()
            if newest <= place["id"]:
                return None, place, 0
            if trimmed > place["id"]:
                raise Lost("Rows of the outbox were trimmed before they were read")
            key = self._key(place, newest)
            rows, keys, nonce = self._rows(place["id"], newest)
        after = {**place, "id": newest, "nonce": nonce}
        count = newest - place["id"]
        if rows is None:
            return reset_entry(key, self.rendering, self._all_tables()), after, count
        return entry_of(key, self.rendering.changes(rows), keys), after, count

    def _rows(self, after: int, newest: int) -> tuple[list[Row] | None, list[str], int]:
        """The rows, None where they are too many; the keys among them, the nonce of the newest."""
        (nonce,) = self._connection.execute(
            "SELECT nonce FROM snorky_outbox WHERE id = ?", (newest,)
        ).fetchone()
        if newest - after > MOST_ROWS:
            return None, [], nonce
        size, rows, keys = 0, [], []
        for table, old, new, key, made_at in self._connection.execute(
            "SELECT model, CAST(old_data AS BLOB), CAST(new_data AS BLOB), tx_key, made_at"
            " FROM snorky_outbox WHERE id > ? ORDER BY id",
            (after,),
        ):
            self.oldest = self.oldest or made_at
            if key is not None:
                keys.append(key)
                size += len(key) + 3
            if table is not None:
                rows.append(self._row(table, old, new))
                size += len(old or b"") + len(new or b"") + len(table) + 40
            if size > MAX_ENTRY_BYTES:
                return None, [], nonce
        return rows, keys, nonce

    def _row(self, table: str, old: bytes | None, new: bytes | None) -> Row:
        """With true and false in columns that are declared so, where SQLite has 1 and 0."""
        booleans = self._booleans.get(table)
        if booleans is None:
            return Row(table, old, new)
        return Row(table, *(text and booleans.sub(_true_or_false, text) for text in (old, new)))

    def _key(self, place: Any, newest: int) -> str:
        """The same for the same rows, so that they are told once; never that of others."""
        text = f"{place['born']} {place['id']} {place['nonce']} {newest}"
        return hashlib.sha256(text.encode()).hexdigest()[:32] if place["nonce"] else new_key()

    def _life(self) -> tuple[str, int, int]:
        """The random name of the outbox, the newest id that was trimmed, the oldest that is kept.

        Raises Lost where there is none.
        """
        if not is_installed(self._connection):
            raise Lost("No triggers are installed: snorky triggers install")
        state = dict(
            self._connection.execute(
                "SELECT name, value FROM snorky_outbox_state WHERE name IN ('born', 'trimmed')"
            ).fetchall()
        )
        (first,) = self._connection.execute("SELECT min(id) FROM snorky_outbox").fetchone()
        return state["born"], state["trimmed"], state["trimmed"] + 1 if first is None else first

    def _stands(self, place: Any, trimmed: int) -> bool:
        """Whether the outbox has what was read last, and nothing went before it was read."""
        if place["nonce"] is None or place["id"] < trimmed:
            return bool(place["id"] >= trimmed)
        found = self._connection.execute(
            "SELECT nonce FROM snorky_outbox WHERE id = ?", (place["id"],)
        ).fetchone()
        return place["id"] == trimmed or (found is not None and found[0] == place["nonce"])

    def _learn_tables(self) -> None:
        self._schema_version = self._version()
        self._tables = {table.name: table for table in tables_of(self._connection)}
        text = repr(sorted((table.name, table.fingerprint) for table in self._tables.values()))
        self.place = {**self.place, "schema": hashlib.sha256(text.encode()).hexdigest()[:16]}
        self.rendering.note_conditions(self._tables.values())
        found = ((name, self._booleans_of(name)) for name in self._tables)
        self._booleans = {name: pattern for name, pattern in found if pattern is not None}

    def _booleans_of(self, table: str) -> re.Pattern[bytes] | None:
        """What finds the columns of booleans in the JSON of a row: a name that a colon follows,
        which no text in it looks like."""
        names = [
            re.escape(json.dumps(name, ensure_ascii=False).encode())
            for (name,) in self._connection.execute(
                "SELECT name FROM pragma_table_xinfo(?) WHERE type LIKE '%bool%'", (table,)
            )
        ]
        return re.compile(rb"(?:%b):[01](?=[,}])" % b"|".join(names)) if names else None

    def _version(self) -> int:
        version: int = self._connection.execute("PRAGMA schema_version").fetchone()[0]
        return version

    def _all_tables(self) -> list[str]:
        found = self._connection.execute(
            "SELECT DISTINCT model FROM (SELECT model FROM snorky_outbox ORDER BY id DESC LIMIT ?)",
            (MOST_ROWS,),
        )
        return sorted({*self._tables, *self._models, *(name for (name,) in found if name)})


def _true_or_false(found: re.Match[bytes]) -> bytes:
    return found[0][:-1] + (b"true" if found[0].endswith(b"1") else b"false")
