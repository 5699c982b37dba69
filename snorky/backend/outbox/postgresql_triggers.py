"""Triggers in PostgreSQL: which tables have them, and what is missing.

What a trigger does is a function of the outbox's schema. It is one of rows: a
trigger of statements with transition tables takes a third of the time in an UPDATE of many rows,
but changes that come by logical replication do not fire it, and two statements of one WITH fire
theirs in no order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from snorky.backend.outbox.installation import Condition, InstallationError, Status, Table
from snorky.backend.outbox.table import (
    MAX_OUTBOX_BYTES,
    MAX_ROW_BYTES,
    create_postgresql,
    drop_postgresql,
    quoted,
)

OLDEST = 140_000

CHANGED, TRUNCATED = "!snorky_changed", "!snorky_truncated"
"""Triggers fire by their names. These come first: another's may change the row once more."""

ANY, PLAIN = "snorky_changed", "snorky_changed_plain"
"""Functions of triggers: for any table, and the quicker one for those of plain types alone."""

# fmt: off
PLAIN_TYPES = [
    "bool", "bpchar", "char", "cidr", "date", "float4", "float8", "inet", "int2", "int4", "int8",
    "interval", "json", "macaddr", "money", "name", "numeric", "oid", "text", "time", "timestamp",
    "timestamptz", "timetz", "uuid", "varchar",
]
# fmt: on
"""What these hold always becomes JSON, and not much more of it than there is: one number in a jsonb
or an array may have 131,072 digits, which stand in 10 bytes."""

PREFIX = "table:"
LOCK_SECONDS = 5
"""How long installing waits for a table: who comes after us waits as well."""


class Relation(NamedTuple):
    """A table, or one of its partitions."""

    oid: int
    schema: str
    name: str

    @property
    def sql(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def outbox_schema(connection: Any) -> str | None:
    """The schema of the outbox that unqualified names mean; None where there is none."""
    found = connection.execute(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = to_regclass('snorky_outbox_state')"
    ).fetchone()
    return None if found is None else str(found[0])


def install(
    connection: Any,
    tables: Sequence[str],
    max_row_bytes: int = MAX_ROW_BYTES,
    max_outbox_bytes: int = MAX_OUTBOX_BYTES,
) -> None:
    """Make the outbox and the triggers of these tables; what is as it should be is left alone.

    ``connection`` is of psycopg, and in no transaction. Raises InstallationError.
    """
    version = connection.info.server_version
    if version < OLDEST:
        raise InstallationError(f"PostgreSQL 14 or newer is needed; got {version // 10_000}.")
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('snorky_outbox'))")
        schema = outbox_schema(connection)
        if schema is None:
            (schema,) = connection.execute("SELECT current_schema()").fetchone()
            if schema is None:
                raise InstallationError("There is no schema in the search_path to make tables in.")
        for statement in create_postgresql(schema, max_outbox_bytes):
            connection.execute(statement)
        for name in tables:
            _install(connection, schema, name, max_row_bytes)


def _install(connection: Any, schema: str, name: str, max_row_bytes: int) -> None:
    relation = find(connection, name)
    _check(connection, relation)
    model = model_of(relation, schema)
    if model.startswith("snorky_outbox"):
        raise InstallationError(f"{model} is a table of the outbox itself.")
    arguments = [model, str(max_row_bytes), *_left_out(connection, relation)]
    listed = ", ".join(f"'{text.replace(chr(39), chr(39) * 2)}'" for text in arguments)
    name_of_function = _function(connection, relation)
    function = f"{quoted(schema)}.{name_of_function}({listed})"
    family = _family(connection, relation)
    if _condition(connection, family) is not Condition.INSTALLED or (
        _made(connection, relation) != (name_of_function, arguments)
    ):
        _drop(connection, family)
        connection.execute(
            f"CREATE TRIGGER {quoted(CHANGED)} AFTER INSERT OR UPDATE OR DELETE ON {relation.sql}"
            f" FOR EACH ROW EXECUTE FUNCTION {function}"
        )
        for member in family:
            # A partition has its copy of the first; TRUNCATE of it alone is seen by its own.
            connection.execute(
                f"CREATE TRIGGER {quoted(TRUNCATED)} AFTER TRUNCATE ON {member.sql}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION {function}"
            )
            for trigger in (CHANGED, TRUNCATED):
                connection.execute(
                    f"ALTER TABLE {member.sql} ENABLE ALWAYS TRIGGER {quoted(trigger)}"
                )
    made = json.dumps({"oid": relation.oid, "max_row_bytes": max_row_bytes})
    connection.execute(
        f"INSERT INTO {quoted(schema)}.snorky_outbox_state VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (PREFIX + model, made),
    )


def remove(connection: Any, tables: Sequence[str]) -> None:
    """Remove the triggers of these tables, and the outbox with the last ones.

    Raises InstallationError where a table has none.
    """
    schema = outbox_schema(connection)
    if schema is None:
        raise InstallationError("There is no outbox in this database.")
    state = f"{quoted(schema)}.snorky_outbox_state"
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        recorded = _recorded(connection, schema)
        for name in tables:
            try:
                relation = find(connection, name)
            except InstallationError:
                model = name  # of a table that is gone
            else:
                model = model_of(relation, schema)
                _drop(connection, _family(connection, relation))
            if recorded.pop(model, None) is None:
                raise InstallationError(f"{name} has no triggers of Snorky.")
            connection.execute(f"DELETE FROM {state} WHERE name = %s", (PREFIX + model,))
        if not recorded:
            for statement in drop_postgresql(schema):
                connection.execute(statement)


def tables_of(connection: Any, schema: str) -> list[Table]:
    """The tables whose changes are told, by name."""
    return [_table(connection, schema, model) for model in _recorded(connection, schema)]


def _table(connection: Any, schema: str, model: str) -> Table:
    try:
        relation = find(connection, model)
    except InstallationError:
        return Table(model, Condition.GONE)
    family = _family(connection, relation)
    condition = _condition(connection, family)
    columns = connection.execute(
        "SELECT attname, atttypid::regtype::text, attnotnull FROM pg_attribute"
        " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (relation.oid,),
    ).fetchall()
    triggers = connection.execute(
        "SELECT oid::bigint, tgrelid::bigint, tgenabled::text FROM pg_trigger"
        " WHERE tgname = ANY (%s) AND tgrelid = ANY (%s) ORDER BY oid",
        ([CHANGED, TRUNCATED], [member.oid for member in family]),
    ).fetchall()
    text = json.dumps([family, columns, triggers])
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    left_out = _left_out(connection, relation)
    notes = []
    if condition is Condition.INSTALLED:
        function, arguments = _made(connection, relation)
        if arguments[2:] != left_out:
            condition = Condition.CHANGED
        elif function == PLAIN != _function(connection, relation):
            notes.append("a new column may have values that make writes fail: install once more")
    if not connection.execute(
        "SELECT 1 FROM pg_index WHERE indrelid = %s AND indisprimary", (relation.oid,)
    ).fetchone():
        notes.append("no primary key: the dealers' key must be a column of it")
    return Table(model, condition, fingerprint, left_out, notes)


def status(connection: Any, tables: Sequence[str] = ()) -> Status:
    """What is installed; of these tables too where they have never been."""
    schema = outbox_schema(connection)
    if schema is None:
        return Status([Table(name, Condition.MISSING) for name in tables], 0, None, 0)
    found = tables_of(connection, schema)
    known = {table.name for table in found}
    found += [
        Table(name, Condition.MISSING)
        for name in tables
        if _model_named(connection, schema, name) not in known
    ]
    length, age, size = connection.execute(
        "SELECT count(*), extract(epoch FROM clock_timestamp() - min(made_at))::float8,"
        " coalesce(sum(coalesce(octet_length(old_data), 0) + coalesce(octet_length(new_data), 0)),"
        f" 0)::bigint FROM {quoted(schema)}.snorky_outbox"
    ).fetchone()
    (full,) = connection.execute(
        f"SELECT last_value FROM {quoted(schema)}.snorky_outbox_full"
    ).fetchone()
    notes = ["full: changes are told as resets until it has been read"] if full == 1 else []
    return Status(found, length, age, size, notes)


def _model_named(connection: Any, schema: str, name: str) -> str:
    try:
        return model_of(find(connection, name), schema)
    except InstallationError:
        return name


def find(connection: Any, name: str) -> Relation:
    """The table of a name, which may be qualified. Raises InstallationError."""
    parts = name.split(".", 1)
    spellings = [quoted(name), ".".join(map(quoted, parts)), name]
    for spelling in spellings:
        try:
            with connection.transaction():
                found = connection.execute(
                    "SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c"
                    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)",
                    (spelling,),
                ).fetchone()
        except errors():
            continue
        if found is not None:
            return Relation(*found)
    raise InstallationError(f"There is no table {name} in the database.")


def errors() -> tuple[type[Exception], ...]:
    """What the database raises."""
    import psycopg

    return (psycopg.Error,)


def model_of(relation: Relation, schema: str) -> str:
    """What stands in the outbox: the name, qualified where it is not of the outbox's schema."""
    return relation.name if relation.schema == schema else f"{relation.schema}.{relation.name}"


def _check(connection: Any, relation: Relation) -> None:
    kind, is_partition = connection.execute(
        "SELECT relkind::text, relispartition FROM pg_class WHERE oid = %s", (relation.oid,)
    ).fetchone()
    if kind not in ("r", "p"):
        what = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}.get(kind, "none")
        raise InstallationError(f"Expected a table; {relation.name} is {what}.")
    if is_partition:
        (root,) = connection.execute(
            "SELECT pg_partition_root(%s)::regclass::text", (relation.oid,)
        ).fetchone()
        raise InstallationError(f"{relation.name} is a partition: install them on {root}.")


def _left_out(connection: Any, relation: Relation) -> list[str]:
    """Columns of bytes, which JSON cannot hold."""
    found = connection.execute(
        "SELECT a.attname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped"
        " AND 'bytea'::regtype IN (t.oid, t.typbasetype, t.typelem) ORDER BY a.attnum",
        (relation.oid,),
    )
    return [name for (name,) in found.fetchall()]


def _family(connection: Any, relation: Relation) -> list[Relation]:
    """The table and all its partitions."""
    found = connection.execute(
        "SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid IN (SELECT %s::oid UNION SELECT relid FROM pg_partition_tree(%s))"
        " ORDER BY c.oid",
        (relation.oid, relation.oid),
    )
    return [Relation(*row) for row in found.fetchall()]


def _condition(connection: Any, family: Iterable[Relation]) -> Condition:
    oids = [relation.oid for relation in family]
    (enabled,) = connection.execute(
        "SELECT count(*) FROM pg_trigger WHERE tgname = ANY (%s) AND tgrelid = ANY (%s)"
        " AND tgenabled = 'A'",
        ([CHANGED, TRUNCATED], oids),
    ).fetchone()
    return Condition.INSTALLED if enabled == 2 * len(oids) else Condition.MISSING


def _made(connection: Any, relation: Relation) -> tuple[str, list[str]]:
    """The function of the triggers that there are, and its arguments."""
    found = connection.execute(
        "SELECT proname, tgargs FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        " WHERE tgname = %s AND tgrelid = %s",
        (CHANGED, relation.oid),
    ).fetchone()
    return ("", []) if found is None else (found[0], bytes(found[1]).decode().split("\0")[:-1])


def _function(connection: Any, relation: Relation) -> str:
    """The function that the triggers of a table need."""
    (others,) = connection.execute(
        "SELECT count(*) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND NOT"
        " (t.typnamespace = 'pg_catalog'::regnamespace AND t.typname = ANY (%s))",
        (relation.oid, PLAIN_TYPES),
    ).fetchone()
    return ANY if others else PLAIN


def _drop(connection: Any, family: Sequence[Relation]) -> None:
    for relation in family:
        connection.execute(f"DROP TRIGGER IF EXISTS {quoted(TRUNCATED)} ON {relation.sql}")
    roots = [relation for relation in family if not _is_partition(connection, relation)]
    for relation in roots:
        connection.execute(f"DROP TRIGGER IF EXISTS {quoted(CHANGED)} ON {relation.sql}")


def _is_partition(connection: Any, relation: Relation) -> bool:
    return bool(
        connection.execute(
            "SELECT relispartition FROM pg_class WHERE oid = %s", (relation.oid,)
        ).fetchone()[0]
    )


def _recorded(connection: Any, schema: str) -> dict[str, Any]:
    found = connection.execute(
        f"SELECT substr(name, %s), value FROM {quoted(schema)}.snorky_outbox_state"
        " WHERE starts_with(name, %s) ORDER BY name",
        (len(PREFIX) + 1, PREFIX),
    )
    return {name: json.loads(value) for name, value in found.fetchall()}
