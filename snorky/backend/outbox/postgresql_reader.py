"""Reading the outbox of PostgreSQL: transaction by transaction, and deleting what was told.

Transactions are told in the order of their largest numbers. Numbers are given out under the lock of
the row that was changed, so where two transactions changed one row, or one saw what the other did,
this is the order in which they were committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple

from snorky.backend.entries import MAX_ENTRY_BYTES
from snorky.backend.exchange import snorky_log
from snorky.backend.outbox.installation import Condition, Table
from snorky.backend.outbox.missing import LowWater
from snorky.backend.outbox.postgresql_triggers import outbox_schema, tables_of
from snorky.backend.outbox.reading import (
    STEP_BYTES,
    STEP_ENTRIES,
    Entry,
    Lost,
    Reader,
    Rendering,
    Row,
    Step,
    entry_of,
    reset_entry,
)
from snorky.backend.outbox.table import quoted

MOST_PIECES = 2000
"""Read at once; of more the server keeps the list, so that our memory is bounded."""

ROWS_BETWEEN_CLEANING = 1000

ENTRIES_BETWEEN_FLUSHES = 1000
"""Whose rows may be back after the database's machine has failed: with a step more, they are fewer
than a log knows the keys of."""

# Sizes alone, in one snapshot. A piece is a run of numbers of one transaction. Where numbers are
# passed over, their transactions are older than one that begins now; the snapshot's xmax does not
# say so, since it may be the number of one that runs.
_PIECES = """
WITH visible AS (
    SELECT id, xid, made_at,
        64 + coalesce(octet_length(old_data), 0) + coalesce(octet_length(new_data), 0) AS bytes
    FROM {outbox} WHERE id > {newest}::bigint
    UNION ALL
    SELECT id, xid, made_at,
        64 + coalesce(octet_length(old_data), 0) + coalesce(octet_length(new_data), 0) AS bytes
    FROM unnest({lows}::bigint[], {highs}::bigint[]) AS r (low, high)
    JOIN {outbox} ON id BETWEEN r.low AND r.high
), numbered AS (
    SELECT *, id - row_number() OVER (PARTITION BY xid ORDER BY id) AS piece FROM visible
), pieces AS (
    SELECT xid::text::bigint AS xid, extract(epoch FROM min(made_at))::text AS began,
        min(id) AS low, max(id) AS high, sum(bytes)::bigint AS bytes,
        max(max(id)) OVER (PARTITION BY xid) AS last
    FROM numbered GROUP BY xid, piece
), now AS MATERIALIZED (
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
        CASE WHEN {passes_over}::boolean OR EXISTS (SELECT FROM pieces)
            THEN pg_current_xact_id() ELSE pg_snapshot_xmax(pg_current_snapshot())
        END::text::bigint AS newest,
        coalesce(pg_sequence_last_value(
            pg_get_serial_sequence('{literal}.snorky_outbox', 'id')::regclass), 0) AS given_out,
        coalesce(pg_sequence_last_value('{literal}.snorky_outbox_full'::regclass), 0) AS is_full
)
SELECT now.*, pieces.* FROM now LEFT JOIN pieces ON true ORDER BY last, low
"""


LOOKED_FOR = ("newest", "passes_over", "lows", "highs")
"""Parameters of this query, each as text: their types are the same in every look."""


class Piece(NamedTuple):
    """A run of numbers of one transaction."""

    oldest: int
    newest: int
    given_out: int
    is_full: int
    xid: int
    began: str
    low: int
    high: int
    bytes: int
    last: int


class Transaction(NamedTuple):
    pieces: list[Piece]
    bytes: int


class PostgresqlReader(Reader):
    """``connection`` has ``execute``, with psycopg's parameters, and is in autocommit mode."""

    def __init__(
        self,
        connection: Any,
        rendering: Rendering,
        place: Any = None,
        models: Iterable[str] = (),
    ) -> None:
        self.rendering = rendering
        self.place: dict[str, Any] = {}
        self.low_water = LowWater()
        self._connection = connection
        self._known = place if isinstance(place, dict) else None
        self._models = set(models)
        self._tables: dict[str, Table] = {}
        self._told = 0
        self._not_flushed = 0
        schema = outbox_schema(connection)
        if schema is None:
            raise Lost("No triggers are installed: snorky triggers install")
        self.schema = schema
        self._outbox = f"{quoted(schema)}.snorky_outbox"
        self.literal = quoted(schema).replace("'", "''")
        self._look = self._query(**{name: f"%({name})s" for name in LOOKED_FOR})

    def begin(self) -> Iterator[Step]:
        """Find the low-water mark, and tell a reset where this is another database."""
        known = self._known
        identity, self._born, given_out = self._identity()
        self.place = {"identity": identity}
        self._learn_tables()
        missed = known is not None and (
            known.get("identity") != identity
            or known["newest"] > given_out
            or known.get("schema") != self.place["schema"]
        )
        if known is not None and not missed:
            self.low_water = LowWater(known["low"])
            # Told, and deleted by a commit that was lost when the database failed.
            self._connection.execute(f"DELETE FROM {self._outbox} WHERE id <= {known['low']:d}")
        self._note_place()
        if missed:
            snorky_log.warning("Rows of the outbox may have been missed: lists fetch anew")
            yield from self.reset(self._all_tables())

    def read(self) -> Iterator[Step]:
        seen: list[tuple[int, int]] = []
        first: Piece | None = None
        for batch, (entries, rows) in self._fetched(self._batches(self._transactions())):
            first = first or batch[0].pieces[0]
            pieces = [piece for transaction in batch for piece in transaction.pieces]
            yield Step(entries, self.place, rows)
            self._delete(pieces, len(entries))
            self.waiting = max(0, self.waiting - rows)
            seen += [(piece.low, piece.high) for piece in pieces]
            self._told += rows
        now = first or self._empty
        self.low_water.saw(seen, now.oldest, now.newest, now.given_out)
        self._note_place()
        self.waiting, self.oldest = 0, None
        if now.is_full or self._told >= ROWS_BETWEEN_CLEANING:
            self._told = 0
            self._clean(is_full=bool(now.is_full))

    def check(self) -> Iterator[Step]:
        before = self._tables
        self._learn_tables()
        names = {
            name
            for name in before.keys() | self._tables.keys()
            if before.get(name) != self._tables.get(name)
            or self._tables[name].condition is Condition.MISSING
        }
        yield from self.reset(sorted(names))

    # Transactions

    def _transactions(self) -> Iterator[Transaction]:
        """What is visible now, in the order in which it is told."""
        for _, pieces in groupby(self._pieces(), key=lambda piece: piece.xid):
            listed = list(pieces)
            yield Transaction(listed, sum(piece.bytes for piece in listed))

    def _pieces(self) -> Iterator[Piece]:
        lows, highs = _arrays(self.low_water.ranges)
        low_water = self.low_water
        looked_for = (str(low_water.newest), str(low_water.passes_over), lows, highs)
        values = dict(zip(LOOKED_FOR, looked_for, strict=True))
        # Prepared by the server, unlike one with the numbers in its text: a third of the time.
        found = self._connection.execute(f"{self._look} LIMIT {MOST_PIECES + 1}", values).fetchall()
        self._empty = Piece(*found[0])
        if self._empty.given_out < self.low_water.newest:
            raise Lost("The numbers of the outbox went back")
        if self._empty.xid is not None:
            self.waiting = sum(piece[7] - piece[6] + 1 for piece in found)
            self.oldest = min(float(piece[5]) for piece in found)
        if len(found) <= MOST_PIECES:
            yield from (Piece(*row) for row in found if row[4] is not None)
            return
        query = self._query(**{name: f"'{value}'" for name, value in values.items()})
        self._connection.execute(f"DECLARE snorky_outbox_backlog CURSOR WITH HOLD FOR {query}")
        try:
            while found := self._connection.execute(
                f"FETCH {MOST_PIECES} FROM snorky_outbox_backlog"
            ).fetchall():
                yield from (Piece(*row) for row in found if row[4] is not None)
        finally:
            self._connection.execute("CLOSE snorky_outbox_backlog")

    def _query(self, **values: str) -> str:
        return _PIECES.format(outbox=self._outbox, literal=self.literal, **values)

    def _batches(self, transactions: Iterable[Transaction]) -> Iterator[list[Transaction]]:
        """By what fits in a step; what is oversize takes no room, since it is not fetched."""
        batch: list[Transaction] = []
        size = 0
        for transaction in transactions:
            room = transaction.bytes if transaction.bytes <= MAX_ENTRY_BYTES else 0
            if batch and (len(batch) == STEP_ENTRIES or size + room > STEP_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(transaction)
            size += room
        if batch:
            yield batch

    def _fetched(
        self, batches: Iterator[list[Transaction]]
    ) -> Iterator[tuple[list[Transaction], tuple[list[Entry], int]]]:
        """Batches and what they tell; one is fetched while the one before is appended."""
        batch = next(batches, None)
        if batch is None:
            return
        fetched = self._entries(batch)
        for following in batches:
            with ThreadPoolExecutor(1) as ahead:
                coming = ahead.submit(self._entries, following)
                yield batch, fetched
            batch, fetched = following, coming.result()
        yield batch, fetched

    def _entries(self, batch: Sequence[Transaction]) -> tuple[list[Entry], int]:
        whole = [each for each in batch if each.bytes <= MAX_ENTRY_BYTES]
        rows: dict[int, list[Row]] = {each.pieces[0].xid: [] for each in whole}
        keys: dict[int, list[str]] = {}
        bounds = _bounds(piece for each in whole for piece in each.pieces)
        for xid, table, old, new, key in self._connection.execute(
            "SELECT xid::text::bigint, model, old_data, new_data, tx_key"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS r (low, high)"
            f" JOIN {self._outbox} ON id BETWEEN r.low AND r.high ORDER BY id",
            bounds,
        ).fetchall():
            if key is not None:
                keys.setdefault(xid, []).append(key)
            if table is not None:
                rows[xid].append(Row(table, old, new))
        entries, count = [], 0
        for each in batch:
            first = each.pieces[0]
            key = self._key(first)
            count += sum(piece.high - piece.low + 1 for piece in each.pieces)
            if first.xid in rows:
                changes = self.rendering.changes(rows[first.xid])
                entries.append(entry_of(key, changes, keys.get(first.xid, ())))
            else:
                entries.append(reset_entry(key, self.rendering, self._tables_in(each.pieces)))
        return entries, count

    def _key(self, piece: Piece) -> str:
        """As the function ``snorky_key_of`` says."""
        text = f"{self._born}:{piece.xid}:{piece.began}"
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    def _tables_in(self, pieces: Iterable[Piece]) -> list[str]:
        found = self._connection.execute(
            "SELECT DISTINCT model FROM unnest(%s::bigint[], %s::bigint[]) AS r (low, high)"
            f" JOIN {self._outbox} ON id BETWEEN r.low AND r.high WHERE model IS NOT NULL",
            _bounds(pieces),
        )
        return sorted(model for (model,) in found.fetchall())

    def _delete(self, pieces: Iterable[Piece], entries: int) -> None:
        """Delete exactly these rows: what has come since stays."""
        delete = (
            f"DELETE FROM {self._outbox} USING unnest(%s::bigint[], %s::bigint[]) AS r (low, high)"
            " WHERE id BETWEEN r.low AND r.high"
        )
        self._not_flushed += entries
        if self._not_flushed < ENTRIES_BETWEEN_FLUSHES:
            self._connection.execute(delete, _bounds(pieces))
            return
        self._not_flushed = 0
        with self._connection.transaction():
            self._connection.execute("SET LOCAL synchronous_commit = local")
            self._connection.execute(delete, _bounds(pieces))

    def _clean(self, *, is_full: bool) -> None:
        self._connection.execute(
            f"DELETE FROM {self._outbox}_sizes s WHERE NOT EXISTS"
            f" (SELECT FROM {self._outbox} o WHERE o.id = s.id)"
        )
        if is_full:
            self._connection.execute(
                f"SELECT setval('{self.literal}.snorky_outbox_full'::regclass, 0)"
            )

    # What database it is

    def _identity(self) -> tuple[str, str, int]:
        """A text that is another one in another database, or after it was restored."""
        if self._connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]:
            raise Lost("The database is a replica: the relay needs the one that writes")
        (system, timeline, oid, born, given_out) = self._connection.execute(
            "SELECT (SELECT system_identifier FROM pg_control_system())::text,"
            " substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),"
            f" '{self.literal}.snorky_outbox'::regclass::oid::bigint,"
            f" (SELECT value FROM {self._outbox}_state WHERE name = 'born'),"
            " coalesce(pg_sequence_last_value(pg_get_serial_sequence("
            f"'{self.literal}.snorky_outbox', 'id')::regclass), 0)"
        ).fetchone()
        return f"{system} {timeline} {oid} {born}", born, given_out

    def _note_place(self) -> None:
        self.place |= {"low": self.low_water.low, "newest": self.low_water.newest}

    def _learn_tables(self) -> None:
        self._tables = {table.name: table for table in tables_of(self._connection, self.schema)}
        text = repr(sorted((table.name, table.fingerprint) for table in self._tables.values()))
        self.place["schema"] = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.rendering.note_conditions(self._tables.values())

    def _all_tables(self) -> list[str]:
        found = self._connection.execute(
            "SELECT DISTINCT model FROM"
            f" (SELECT model FROM {self._outbox} ORDER BY id DESC LIMIT {MOST_PIECES}) newest"
            " WHERE model IS NOT NULL"
        )
        return sorted({*self._tables, *self._models, *(model for (model,) in found.fetchall())})


def _bounds(pieces: Iterable[Piece]) -> tuple[str, str]:
    """First and last numbers of pieces; neighbours, as they mostly are, are one range."""
    lows: list[int] = []
    highs: list[int] = []
    for low, high in sorted((piece.low, piece.high) for piece in pieces):
        if highs and low == highs[-1] + 1:
            highs[-1] = high
        else:
            lows.append(low)
            highs.append(high)
    return _arrays((lows, highs))


def _arrays(ranges: tuple[list[int], list[int]]) -> tuple[str, str]:
    """Ranges as PostgreSQL reads arrays."""
    lows, highs = ranges
    return f"{{{','.join(map(str, lows))}}}", f"{{{','.join(map(str, highs))}}}"
