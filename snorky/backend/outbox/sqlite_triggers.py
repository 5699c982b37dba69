"""Triggers in SQLite: their text, and which tables have them.

Nothing in them may fail, whatever stands in a row: the write of the application would fail too.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from snorky.backend.outbox.installation import Condition, InstallationError, Status, Table
from snorky.backend.outbox.table import (
    MAX_OUTBOX_BYTES,
    MAX_ROW_BYTES,
    create_sqlite,
    drop_sqlite,
    quoted,
)

OLDEST = (3, 38, 0)
PAIRS_OF_A_CALL = 40
"""Arguments of a function are bounded, by 100 in some builds."""

NOTING = ("inserting", "updating")
"""Triggers that come before a change, and tell nothing."""

PREFIX = "table:"
"""In the names of ``snorky_outbox_state``; the value tells how the triggers were made."""


class Index(NamedTuple):
    """What makes rows take the place of others: the comparison of ``t`` with NEW."""

    columns: list[str]
    condition: str


class Shape:
    """A table as it is: what its triggers must say."""

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        self.name = name
        found = database.execute(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (name,)
        ).fetchone()
        if found is None:
            raise InstallationError(f"There is no table {name} in the database.")
        self._sql = str(found[0])
        if self._sql.upper().lstrip().startswith("CREATE VIRTUAL"):
            raise InstallationError(f"{name} is a virtual table: it cannot have triggers.")
        info = database.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
        columns = [(column[1], column[2].upper()) for column in info if column[6] != 1]
        self.left_out = [column for column, kind in columns if "BLOB" in kind]
        self.columns = [column for column, kind in columns if "BLOB" not in kind]
        self._long = [
            column for column, kind in columns if not any(each in kind for each in _SHORT_TYPES)
        ]
        self.key = [column[1] for column in sorted(info, key=lambda c: c[5]) if column[5]]
        names = {column.lower() for column, _ in columns}
        listed = database.execute(f"PRAGMA table_list({quoted(name)})").fetchone()
        # A column may be called rowid; then it has another name.
        free = [each for each in ("rowid", "_rowid_", "oid") if each not in names]
        self.rowid = None if listed[4] or not free else free[0]
        others = (
            "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name NOT LIKE"
        )
        self._has_other_triggers = bool(
            database.execute(f"{others} 'snorky\\_%' ESCAPE '\\'", (name,)).fetchone()
        )
        self.unseen: list[str] = []
        self.indexes = list(self._unique_indexes(database))

    def _unique_indexes(self, database: sqlite3.Connection) -> Iterable[Index]:
        if self.rowid is not None:
            yield Index(
                self.key if len(self.key) == 1 else [], f"t.{self.rowid} = NEW.{self.rowid}"
            )
        for _, name, unique, _, partial in database.execute(
            f"PRAGMA index_list({quoted(self.name)})"
        ).fetchall():
            if not unique:
                continue
            parts = database.execute(f"PRAGMA index_xinfo({quoted(name)})").fetchall()
            keys = [part for part in parts if part[5]]
            if any(part[1] == -2 for part in keys) or (partial and self.rowid is None):
                self.unseen.append(name)
                continue
            yield Index(
                [part[2] for part in keys],
                " AND ".join(
                    f"t.{quoted(part[2])} = NEW.{quoted(part[2])} COLLATE {part[4]}"
                    for part in keys
                ),
            )

    # Expressions of SQL

    def json(self, row: str) -> str:
        """The JSON of a row, NEW, OLD or ``t``. A blob that stands in a column of text is null."""
        # Blobs come after all other values. To compare takes a third of what ``typeof`` takes.
        pairs = [
            f"{literal(column)}, CASE WHEN {row}.{quoted(column)} >= x'' THEN NULL"
            f" ELSE {row}.{quoted(column)} END"
            for column in self.columns
        ]
        objects = [
            f"json_object({', '.join(pairs[start : start + PAIRS_OF_A_CALL])})"
            for start in range(0, max(1, len(pairs)), PAIRS_OF_A_CALL)
        ]
        text = objects[0]
        for more in objects[1:]:
            text = f"(substr({text}, 1, length({text}) - 1) || ',' || substr({more}, 2))"
        return text

    def is_long(self, max_bytes: int, *rows: str) -> str:
        """Whether one of the rows is too long to be told."""
        lengths = [
            " + ".join(f"ifnull(length({row}.{quoted(column)}), 0)" for column in self._long)
            for row in rows
        ]
        return " OR ".join(f"{length or 0} > {max_bytes}" for length in lengths)

    def place(self, row: str) -> str:
        """What tells rows apart, for ``snorky_outbox_replaced``."""
        if self.rowid is not None:
            return f"{row}.{self.rowid}"
        return " || ',' || ".join(f"quote({row}.{quoted(column)})" for column in self.key)

    def same(self, row: str, other: str) -> str:
        if self.rowid is not None:
            return f"{row}.{self.rowid} = {other}.{self.rowid}"
        return " AND ".join(
            f"{row}.{quoted(column)} = {other}.{quoted(column)}" for column in self.key
        )

    # Triggers

    def triggers(self, max_bytes: int) -> dict[str, str]:
        """Statements by the names of the triggers that they make."""
        model, table = literal(self.name), quoted(self.name)

        def told(old: str | None, new: str | None, *rows: str) -> str:
            long = self.is_long(max_bytes, *rows)
            texts = [
                "NULL" if text is None else f"CASE WHEN {long} THEN NULL ELSE {text} END"
                for text in (old, new)
            ]
            return (
                "INSERT INTO snorky_outbox (model, old_data, new_data)"
                f" VALUES ({model}, {', '.join(texts)});"
            )

        now = self.json("NEW")
        if self._has_other_triggers:
            # One of them may have come first, and changed the row again.
            now = f"(SELECT {self.json('t')} FROM {table} t WHERE {self.same('t', 'NEW')})"
        forget = f"UPDATE snorky_outbox_replaced SET kind = NULL WHERE model = {model}"
        unique = dict.fromkeys(column for index in self.indexes for column in index.columns)
        inserted = told(None, now, "NEW")
        updated = told(self.json("OLD"), now, "OLD", "NEW")
        deleted = told(self.json("OLD"), None, "OLD")
        bodies = {
            "inserting": (
                f"BEFORE INSERT ON {table} WHEN {self._takes_a_place()}",
                f"{forget}; {self._note('insert', max_bytes)}",
            ),
            "insert": (f"AFTER INSERT ON {table}", f"{self._replaced('insert')} {inserted}"),
            "update": (f"AFTER UPDATE ON {table}", updated),
            "delete": (
                f"AFTER DELETE ON {table}",
                f"{forget} AND id = {self.place('OLD')}; {deleted}",
            ),
        }
        if unique:
            others = f" AND NOT ({self.same('t', 'OLD')})"
            moved = " OR ".join(
                f"NEW.{name} IS NOT OLD.{name} COLLATE BINARY" for name in map(quoted, unique)
            )
            bodies["updating"] = (
                f"BEFORE UPDATE OF {', '.join(map(quoted, unique))} ON {table} WHEN {moved}",
                f"{forget}; {self._note('update', max_bytes, others)}",
            )
            # One of the two, always: which of several triggers comes first, SQLite does not say.
            bodies["update"] = (f"AFTER UPDATE ON {table} WHEN NOT ({moved})", updated)
            bodies["moved"] = (
                f"AFTER UPDATE ON {table} WHEN {moved}",
                f"{self._replaced('update')} {updated}",
            )
        return {
            (name := f"snorky_{self.name}_{kind}"): (
                f"CREATE TRIGGER {quoted(name)} {event} BEGIN {body} END"
            )
            for kind, (event, body) in bodies.items()
        }

    def _takes_a_place(self) -> str:
        """Whether there is something to note, or to forget: mostly not, and asking is quick."""
        sources = [f"{quoted(self.name)} t WHERE {index.condition}" for index in self.indexes]
        return " OR ".join(
            f"EXISTS (SELECT 1 FROM {source})" for source in ["snorky_outbox_replaced", *sources]
        )

    def _note(self, kind: str, max_bytes: int, others: str = "") -> str:
        """Note the rows whose place the new one will take, if it may."""
        any_of = " OR ".join(f"({index.condition})" for index in self.indexes) or "0"
        text = f"CASE WHEN {self.is_long(max_bytes, 't')} THEN NULL ELSE {self.json('t')} END"
        return (
            f"DELETE FROM snorky_outbox_replaced WHERE model = {literal(self.name)};"
            f" INSERT INTO snorky_outbox_replaced SELECT {literal(self.name)}, '{kind}',"
            f" {self.place('t')}, {text} FROM {quoted(self.name)} t WHERE ({any_of}){others};"
        )

    def _replaced(self, kind: str) -> str:
        """Tell of those noted that are not there any more.

        A note may be left behind, by a write that gave way to the row (OR IGNORE, ON CONFLICT). It
        does no harm: that row is there, and the next note is preceded by forgetting.
        """
        gone = ""
        if self.rowid is not None:
            gone = (
                f" AND NOT EXISTS (SELECT 1 FROM {quoted(self.name)} t WHERE t.{self.rowid} ="
                f" snorky_outbox_replaced.id AND t.{self.rowid} <> NEW.{self.rowid})"
            )
        return (
            "DELETE FROM snorky_outbox_replaced"
            f" WHERE model = {literal(self.name)} AND kind = '{kind}'{gone};"
        )


_SHORT_TYPES = ("INT", "REAL", "FLOA", "DOUB", "BOOL", "DATE", "TIME", "NUM", "DECIMAL")


def install(
    database: sqlite3.Connection,
    tables: Sequence[str],
    max_row_bytes: int = MAX_ROW_BYTES,
    max_outbox_bytes: int = MAX_OUTBOX_BYTES,
) -> None:
    """Make the outbox and the triggers of these tables; what is as it should be is left alone.

    In one transaction, which the connection must not have begun. Raises InstallationError.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise InstallationError(f"SQLite 3.38 or newer is needed; got {sqlite3.sqlite_version}.")
    database.execute("BEGIN IMMEDIATE")
    try:
        for statement in create_sqlite(max_outbox_bytes):
            database.execute(statement)
        for name in tables:
            _install(database, name, max_row_bytes)
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def _install(database: sqlite3.Connection, name: str, max_row_bytes: int) -> None:
    if name.startswith("snorky_outbox"):
        raise InstallationError(f"{name} is a table of the outbox itself.")
    triggers = Shape(database, name).triggers(max_row_bytes)
    if _existing(database, name) == triggers and _recorded(database).get(name):
        return
    _drop(database, name)
    for statement in triggers.values():
        database.execute(statement)
    made = json.dumps({"max_row_bytes": max_row_bytes, "made": secrets.token_hex(8)})
    database.execute(
        "INSERT OR REPLACE INTO snorky_outbox_state VALUES (?, ?)", (PREFIX + name, made)
    )


def remove(database: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Remove the triggers of these tables, and the outbox with the last ones.

    Raises InstallationError where a table has none.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        for name in tables:
            if name not in _recorded(database) and not _existing(database, name):
                raise InstallationError(f"{name} has no triggers of Snorky.")
            _drop(database, name)
            if is_installed(database):
                database.execute("DELETE FROM snorky_outbox_state WHERE name = ?", (PREFIX + name,))
        if not _recorded(database):
            for statement in drop_sqlite():
                database.execute(statement)
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def errors() -> tuple[type[Exception], ...]:
    """What the database raises."""
    return (sqlite3.Error,)


def is_installed(database: sqlite3.Connection) -> bool:
    found = database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'snorky_outbox_state'")
    return found.fetchone() is not None


def tables_of(database: sqlite3.Connection) -> list[Table]:
    """The tables whose changes are told, by name."""
    return [_table(database, name, made) for name, made in _recorded(database).items()]


def _table(database: sqlite3.Connection, name: str, made: dict[str, Any]) -> Table:
    try:
        shape = Shape(database, name)
    except InstallationError:
        return Table(name, Condition.GONE)
    existing = _existing(database, name)
    expected = shape.triggers(made["max_row_bytes"])
    if existing == expected:
        condition = Condition.INSTALLED
    elif existing.keys() >= expected.keys() - {f"snorky_{name}_{each}" for each in NOTING}:
        condition = Condition.CHANGED
    else:
        condition = Condition.MISSING
    notes = []
    if not shape.key:
        notes.append("no primary key: the dealers' key must be a column of it")
    if shape.unseen:
        notes.append(f"rows replaced by way of {', '.join(shape.unseen)} are not seen")
    text = json.dumps([made, sorted(existing.items()), sorted(expected.items()), shape._sql])
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Table(name, condition, fingerprint, shape.left_out, notes)


def status(database: sqlite3.Connection, tables: Sequence[str] = ()) -> Status:
    """What is installed; of these tables too where they have never been."""
    if not is_installed(database):
        return Status([Table(name, Condition.MISSING) for name in tables], 0, None, 0)
    found = tables_of(database)
    known = {table.name for table in found}
    found += [Table(name, Condition.MISSING) for name in tables if name not in known]
    length, oldest, size = database.execute(
        "SELECT count(*), unixepoch() - min(made_at), ifnull(sum(ifnull(length(old_data), 0)"
        " + ifnull(length(new_data), 0)), 0) FROM snorky_outbox"
    ).fetchone()
    (mode,) = database.execute("PRAGMA journal_mode").fetchone()
    notes = []
    if mode != "wal":
        notes.append(
            f"journal_mode is {mode}: in WAL mode the relay's reading never makes a write wait"
        )
    return Status(found, length, oldest, size, notes)


def literal(text: str) -> str:
    """A text as SQL takes it."""
    return "'" + text.replace("'", "''") + "'"


def _recorded(database: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    if not is_installed(database):
        return {}
    found = database.execute(
        "SELECT substr(name, ?), value FROM snorky_outbox_state WHERE name LIKE ? ORDER BY name",
        (len(PREFIX) + 1, PREFIX + "%"),
    )
    return {name: json.loads(value) for name, value in found.fetchall()}


def _existing(database: sqlite3.Connection, table: str) -> dict[str, str]:
    found = database.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?"
        " AND substr(name, 1, 7) = 'snorky_'",
        (table,),
    )
    return dict(found.fetchall())


def _drop(database: sqlite3.Connection, table: str) -> None:
    for name in _existing(database, table):
        database.execute(f"DROP TRIGGER {quoted(name)}")
