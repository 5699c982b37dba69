"""The outbox table: what stands in a row, and how the table is made.

Whoever changes a row of a model writes one row of the outbox **in the same transaction, after the
change** (so under the lock of the row that was changed):

| column     | what stands there                                                                   |
|------------|-------------------------------------------------------------------------------------|
| `id`       | made by the database, one after the other; never written                            |
| `model`    | the table (by triggers; the relay names its model) or the model (by an ORM)         |
| `old_data` | JSON text of an object, the row before; NULL where it was inserted                  |
| `new_data` | JSON text of an object, the row after; NULL where it was deleted                    |
| `tx_key`   | a key of the transaction, NULL mostly                                               |
| `made_at`  | made by the database: when the transaction began (SQLite: whole seconds, since 1970)|
| `xid`      | PostgreSQL alone, made by the database: the transaction                             |
| `nonce`    | SQLite alone, made by the database: by it a file that was copied back is recognised |

A row with a model and neither old nor new data is a *reset*: something changed that cannot be told,
and pages fetch anew. It stands also for a change whose old or new data would be longer than
``MAX_ROW_BYTES``. A row without a model says nothing but its key.

**Transactions.** On PostgreSQL rows with one `xid` are a transaction; its key need not be written,
it is computed (the function ``snorky_key()``), and `tx_key` adds another. On SQLite nothing tells
transactions apart: what is visible at once is told at once. Whoever needs a key there writes a row
with `tx_key`, random, into the transaction; `snorky.backend.outbox.keys` does that, on both.

**Reading** is the relay's: on PostgreSQL rows are deleted once they were told, on SQLite they are
left alone, and trimmed by a trigger of the table.
"""

from __future__ import annotations

OUTBOX = "snorky_outbox"

MAX_ROW_BYTES = 256 * 1024
"""JSON of a row, before or after a change. What is larger is told as a reset."""

MAX_OUTBOX_BYTES = 1024**3
"""JSON in the outbox. Past it: on PostgreSQL every change is a reset until the outbox has been
read, on SQLite the oldest rows go, and a relay that had not read them tells a reset."""

SQLITE_KEEP_SECONDS = 3600
"""How long SQLite's outbox keeps rows: as long as the log of a service does."""

CHANNEL = "snorky_outbox"
"""What PostgreSQL notifies while the relay sleeps."""


def create_postgresql(schema: str, max_bytes: int = MAX_OUTBOX_BYTES) -> list[str]:
    """Statements that make the outbox in a schema of PostgreSQL; what is there already is kept.

    To be executed in one transaction, by whoever shall own it, without parameters.
    """
    names = {
        "schema": quoted(schema),
        "literal": quoted(schema).replace("'", "''"),
        "max_bytes": int(max_bytes),
        "every": max(1, min(1024, max_bytes // 2**18)),
        "channel": CHANNEL,
        "plain_bytes": PLAIN_BYTES,
    }
    return [statement.format(**names) for statement in _POSTGRESQL]


def drop_postgresql(schema: str) -> list[str]:
    """Statements that remove what `create_postgresql` made."""
    return [statement.format(schema=quoted(schema)) for statement in _DROP_POSTGRESQL]


def create_sqlite(
    max_bytes: int = MAX_OUTBOX_BYTES, keep_seconds: int = SQLITE_KEEP_SECONDS
) -> list[str]:
    """Statements that make the outbox in SQLite; what is there already is kept."""
    every = max(1, min(256, max_bytes // 2**14))
    names = {"max_bytes": int(max_bytes), "keep_seconds": int(keep_seconds), "every": every}
    return [statement.format(**names) for statement in _SQLITE]


def drop_sqlite() -> list[str]:
    """Statements that remove what `create_sqlite` made."""
    return list(_DROP_SQLITE)


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


# Rows that triggers write. What it costs is what plpgsql evaluates, one expression after the other.
_CHANGED = """
CREATE OR REPLACE FUNCTION {schema}.{name}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $snorky$
DECLARE
    -- Arguments: the model, the longest row, columns that are left out.
    row_before text;
    row_after text;
    told text;
    number bigint;
    convert boolean;
    unusual boolean;
BEGIN{ordinary}
    IF pg_sequence_last_value('{literal}.snorky_outbox_asleep'::regclass) > 0 THEN
        PERFORM {schema}.snorky_outbox_wake();
    END IF;
    convert := TG_OP <> 'TRUNCATE';
    IF pg_sequence_last_value('{literal}.snorky_outbox_full'::regclass) = 1 THEN
        -- One reset of each model in a transaction.
        told := current_setting('snorky.told', true);
        IF starts_with(told, pg_current_xact_id()::text || ' ') THEN
            IF strpos(told, ' ' || TG_ARGV[0] || ' ') > 0 THEN
                RETURN NULL;
            END IF;
        ELSE
            told := pg_current_xact_id()::text || ' ';
        END IF;
        PERFORM set_config('snorky.told', told || TG_ARGV[0] || ' ', true);
        convert := false;
    END IF;
    -- Whatever cannot be converted: the writer's transaction goes on.
    IF convert THEN
        BEGIN
            IF TG_NARGS = 2 THEN
                row_before := row_to_json(OLD)::text;
                row_after := row_to_json(NEW)::text;
            ELSE
                row_before := (to_jsonb(OLD) - TG_ARGV[2:])::text;
                row_after := (to_jsonb(NEW) - TG_ARGV[2:])::text;
            END IF;
            IF greatest(octet_length(row_before), octet_length(row_after)) > TG_ARGV[1]::integer
            THEN
                row_before := NULL;
                row_after := NULL;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            row_before := NULL;
            row_after := NULL;
        END;
    END IF;
    INSERT INTO {schema}.snorky_outbox_rows (model, old_data, new_data)
    VALUES (TG_ARGV[0], row_before, row_after) RETURNING id INTO number;
    IF number % {every} = 0 THEN
        PERFORM {schema}.snorky_outbox_measure(
            number, coalesce(octet_length(row_before), 0) + coalesce(octet_length(row_after), 0)
        );
    END IF;
    RETURN NULL;
END
$snorky$
"""

# Where every column has a type that cannot fail to be converted, most rows take one statement.
# Nothing is inserted where the relay sleeps, where the outbox is full, or where the row is so large
# that its JSON, of text that is compressed now, might be more than PostgreSQL can hold.
_ORDINARY = """
    INSERT INTO {schema}.snorky_outbox_rows (model, old_data, new_data)
    SELECT TG_ARGV[0], row_to_json(OLD)::text, row_to_json(NEW)::text
    WHERE coalesce(pg_sequence_last_value('{literal}.snorky_outbox_asleep'::regclass), 0) = 0
        AND greatest(pg_column_size(OLD), pg_column_size(NEW)) <= {plain_bytes}
    RETURNING id % {every} = 0
        OR greatest(octet_length(old_data), octet_length(new_data)) > TG_ARGV[1]::integer
    INTO unusual;
    IF NOT unusual THEN
        RETURN NULL;
    END IF;
    IF unusual THEN
        PERFORM {schema}.snorky_outbox_look_at(TG_ARGV[1]::integer);
        RETURN NULL;
    END IF;"""

PLAIN_BYTES = 256 * 1024
"""Text is compressed to a 255th at most, and one byte of it is six characters of JSON at most: of
so much, less than the GiB that PostgreSQL can hold."""

_POSTGRESQL = (
    # The transaction stands before the number: defaults are computed in this order, so that a
    # number belongs to a transaction that snapshots know, and the relay can tell when it has ended.
    # Emptied all the time: what autovacuum would do by its size, too late, it does by number.
    """
CREATE TABLE IF NOT EXISTS {schema}.snorky_outbox (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    model text,
    old_data text,
    new_data text,
    tx_key text,
    made_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)
""",
    # What triggers write, a part of the outbox. Others (an ORM, whoever has a key) write into the
    # outbox itself, which has a trigger; to ask whether it fires takes a sixth of all that a write
    # pays.
    """
DO $snorky$
BEGIN
    IF to_regclass('{literal}.snorky_outbox_rows') IS NULL THEN
        CREATE TABLE {schema}.snorky_outbox_rows (id bigint PRIMARY KEY)
        INHERITS ({schema}.snorky_outbox)
        WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
        EXECUTE 'ALTER TABLE {literal}.snorky_outbox_rows ALTER id SET DEFAULT nextval('
            || quote_literal(pg_get_serial_sequence('{literal}.snorky_outbox', 'id'))
            || '::regclass)';
    END IF;
END
$snorky$
""",
    """
CREATE TABLE IF NOT EXISTS {schema}.snorky_outbox_state (name text PRIMARY KEY, value text NOT NULL)
""",
    """
INSERT INTO {schema}.snorky_outbox_state VALUES ('born', gen_random_uuid()::text)
ON CONFLICT (name) DO NOTHING
""",
    # What the outbox holds, estimated from every so many-th row.
    """
CREATE TABLE IF NOT EXISTS {schema}.snorky_outbox_sizes (id bigint, bytes bigint NOT NULL)
""",
    # Whether the relay sleeps: 0 or 1, or the transaction that has notified it; 2 where it has been
    # notified, and the outbox is full. And whether it is full, 0 or 1: never with 0 in the first,
    # but for a relay that reads just now, so that one look says whether anything is unusual. As
    # sequences they are seen at once, nobody waits for a lock on them, and setting them leaves no
    # dead rows.
    """
CREATE SEQUENCE IF NOT EXISTS {schema}.snorky_outbox_asleep AS bigint MINVALUE 0 START 0
""",
    "CREATE SEQUENCE IF NOT EXISTS {schema}.snorky_outbox_full AS smallint MINVALUE 0 START 0",
    """
CREATE OR REPLACE FUNCTION {schema}.snorky_outbox_measure(id bigint, bytes integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $snorky$
BEGIN
    INSERT INTO {schema}.snorky_outbox_sizes VALUES (id, {every}::bigint * (bytes + 64));
    IF (SELECT sum(s.bytes) FROM {schema}.snorky_outbox_sizes s) > {max_bytes} THEN
        PERFORM setval('{literal}.snorky_outbox_full'::regclass, 1);
        IF coalesce(pg_sequence_last_value('{literal}.snorky_outbox_asleep'::regclass), 0) = 0 THEN
            PERFORM setval('{literal}.snorky_outbox_asleep'::regclass, 1);
        END IF;
    END IF;
END
$snorky$
""",
    # One notification that was committed is enough. Each takes a lock of the whole server until its
    # commit is on the disk: with eight writers a tenth of the rate was left, for as long as a relay
    # that was killed in its sleep was away. (Rolled back to a savepoint it is lost: the relay looks
    # once a second anyway.)
    """
CREATE OR REPLACE FUNCTION {schema}.snorky_outbox_wake() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $snorky$
DECLARE
    flag bigint := pg_sequence_last_value('{literal}.snorky_outbox_asleep'::regclass);
    notified xid8 := flag::text::xid8;
BEGIN
    IF flag <= 0 OR notified = pg_current_xact_id() THEN
        RETURN;
    END IF;
    IF flag = 2 OR (flag > 2 AND pg_visible_in_snapshot(notified, pg_current_snapshot())) THEN
        -- It has ended. A transaction that was rolled back has notified nobody.
        IF flag = 2 OR pg_xact_status(notified) = 'committed' THEN
            PERFORM setval('{literal}.snorky_outbox_asleep'::regclass, 2 * coalesce(
                pg_sequence_last_value('{literal}.snorky_outbox_full'::regclass), 0));
            RETURN;
        END IF;
        flag := 1;
    END IF;
    IF flag = 1 THEN
        PERFORM setval('{literal}.snorky_outbox_asleep'::regclass,
            pg_current_xact_id()::text::bigint);
    END IF;
    PERFORM pg_notify('{channel}', '');
END
$snorky$
""",
    """
CREATE OR REPLACE FUNCTION {schema}.snorky_outbox_look_at(longest integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $snorky$
DECLARE
    -- The row that was inserted just now.
    number bigint := currval(pg_get_serial_sequence('{literal}.snorky_outbox', 'id'));
    before integer;
    after integer;
BEGIN
    SELECT octet_length(old_data), octet_length(new_data) INTO before, after
    FROM {schema}.snorky_outbox_rows WHERE id = number;
    IF greatest(before, after) > longest THEN
        UPDATE {schema}.snorky_outbox_rows SET old_data = NULL, new_data = NULL WHERE id = number;
    ELSIF number % {every} = 0 THEN
        PERFORM {schema}.snorky_outbox_measure(number, coalesce(before, 0) + coalesce(after, 0));
    END IF;
END
$snorky$
""",
    _CHANGED.replace("{name}", "snorky_changed").replace("{ordinary}", ""),
    _CHANGED.replace("{name}", "snorky_changed_plain").replace("{ordinary}", _ORDINARY),
    """
CREATE OR REPLACE FUNCTION {schema}.snorky_outbox_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $snorky$
BEGIN
    IF pg_sequence_last_value('{literal}.snorky_outbox_asleep'::regclass) > 0 THEN
        PERFORM {schema}.snorky_outbox_wake();
    END IF;
    IF pg_sequence_last_value('{literal}.snorky_outbox_full'::regclass) = 1 THEN
        NEW.old_data := NULL;
        NEW.new_data := NULL;
    ELSIF NEW.id % {every} = 0 THEN
        PERFORM {schema}.snorky_outbox_measure(NEW.id,
            coalesce(octet_length(NEW.old_data), 0) + coalesce(octet_length(NEW.new_data), 0));
    END IF;
    RETURN NEW;
END
$snorky$
""",
    """
CREATE OR REPLACE TRIGGER snorky_outbox_row BEFORE INSERT ON {schema}.snorky_outbox
FOR EACH ROW EXECUTE FUNCTION {schema}.snorky_outbox_row()
""",
    "ALTER TABLE {schema}.snorky_outbox ENABLE ALWAYS TRIGGER snorky_outbox_row",
    # Not to be guessed, and another one where the database is restored and counts anew.
    """
CREATE OR REPLACE FUNCTION {schema}.snorky_key_of(xid xid8, began timestamptz) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $snorky$
    SELECT md5(value || ':' || xid::text || ':' || extract(epoch FROM began)::text)
    FROM {schema}.snorky_outbox_state WHERE name = 'born'
$snorky$
""",
    "REVOKE ALL ON FUNCTION {schema}.snorky_key_of(xid8, timestamptz) FROM PUBLIC",
    # The row makes the key known also where nothing else was changed.
    """
CREATE OR REPLACE FUNCTION {schema}.snorky_key() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $snorky$
BEGIN
    IF current_setting('transaction_read_only') = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO {schema}.snorky_outbox (model) VALUES (NULL);
    RETURN {schema}.snorky_key_of(pg_current_xact_id(), now());
END
$snorky$
""",
)

_DROP_POSTGRESQL = (
    "DROP FUNCTION IF EXISTS {schema}.snorky_key()",
    "DROP FUNCTION IF EXISTS {schema}.snorky_key_of(xid8, timestamptz)",
    "DROP FUNCTION IF EXISTS {schema}.snorky_changed()",
    "DROP FUNCTION IF EXISTS {schema}.snorky_changed_plain()",
    "DROP TABLE IF EXISTS {schema}.snorky_outbox_rows",
    "DROP TABLE IF EXISTS {schema}.snorky_outbox",
    "DROP FUNCTION IF EXISTS {schema}.snorky_outbox_row()",
    "DROP FUNCTION IF EXISTS {schema}.snorky_outbox_measure(bigint, integer)",
    "DROP FUNCTION IF EXISTS {schema}.snorky_outbox_look_at(integer)",
    "DROP FUNCTION IF EXISTS {schema}.snorky_outbox_wake()",
    "DROP SEQUENCE IF EXISTS {schema}.snorky_outbox_asleep",
    "DROP SEQUENCE IF EXISTS {schema}.snorky_outbox_full",
    "DROP TABLE IF EXISTS {schema}.snorky_outbox_sizes",
    "DROP TABLE IF EXISTS {schema}.snorky_outbox_state",
)

_SQLITE = (
    # Without AUTOINCREMENT: the newest row is never trimmed, so that no number comes twice.
    """
CREATE TABLE IF NOT EXISTS snorky_outbox (
    id INTEGER PRIMARY KEY,
    model TEXT,
    old_data TEXT,
    new_data TEXT,
    tx_key TEXT,
    made_at INTEGER NOT NULL DEFAULT (unixepoch()),
    nonce INTEGER NOT NULL DEFAULT (random())
)
""",
    """
CREATE TABLE IF NOT EXISTS snorky_outbox_state (name TEXT PRIMARY KEY, value) WITHOUT ROWID
""",
    "INSERT OR IGNORE INTO snorky_outbox_state VALUES ('born', lower(hex(randomblob(16))))",
    # The newest id that was trimmed away.
    "INSERT OR IGNORE INTO snorky_outbox_state VALUES ('trimmed', 0)",
    # Characters that were ever written, up to an id.
    """
CREATE TABLE IF NOT EXISTS snorky_outbox_sizes (id INTEGER PRIMARY KEY, total INTEGER NOT NULL)
""",
    # Rows that the INSERT or UPDATE OR REPLACE under way will take away, if it takes place: when it
    # has, they are deleted here. Those whose kind is NULL are forgotten. (Where there are none,
    # INSERT ... SELECT and an UPDATE with a trigger would take four times as long.)
    """
CREATE TABLE IF NOT EXISTS snorky_outbox_replaced (model TEXT, kind TEXT, id, old_data TEXT)
""",
    "DROP TRIGGER IF EXISTS snorky_outbox_replace",
    """
CREATE TRIGGER snorky_outbox_replace AFTER DELETE ON snorky_outbox_replaced
WHEN OLD.kind IS NOT NULL
BEGIN
    INSERT INTO snorky_outbox (model, old_data) VALUES (OLD.model, OLD.old_data);
END
""",
    "DROP TRIGGER IF EXISTS snorky_outbox_trim",
    """
CREATE TRIGGER snorky_outbox_trim AFTER INSERT ON snorky_outbox WHEN NEW.id % {every} = 0
BEGIN
    INSERT INTO snorky_outbox_sizes SELECT
        NEW.id,
        ifnull((SELECT total FROM snorky_outbox_sizes ORDER BY id DESC LIMIT 1), 0)
            + (SELECT sum(64 + ifnull(length(old_data), 0) + ifnull(length(new_data), 0))
               FROM snorky_outbox WHERE id > NEW.id - {every});
    UPDATE snorky_outbox_state SET value = max(value, ifnull((
        SELECT max(s.id) FROM snorky_outbox_sizes s JOIN snorky_outbox o ON o.id = s.id
        WHERE s.id < NEW.id AND s.id <= value + 4 * {every} AND (
            s.total < (SELECT total FROM snorky_outbox_sizes ORDER BY id DESC LIMIT 1) - {max_bytes}
            OR o.made_at < unixepoch() - {keep_seconds}
        )
    ), 0)) WHERE name = 'trimmed';
    DELETE FROM snorky_outbox WHERE id <= (
        SELECT value FROM snorky_outbox_state WHERE name = 'trimmed'
    );
    DELETE FROM snorky_outbox_sizes WHERE id <= (
        SELECT value FROM snorky_outbox_state WHERE name = 'trimmed'
    );
END
""",
)

_DROP_SQLITE = (
    "DROP TABLE IF EXISTS snorky_outbox",
    "DROP TABLE IF EXISTS snorky_outbox_replaced",
    "DROP TABLE IF EXISTS snorky_outbox_sizes",
    "DROP TABLE IF EXISTS snorky_outbox_state",
)
