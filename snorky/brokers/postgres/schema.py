"""The tables and functions in a database: made, upgraded, or found to be missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

from psycopg import errors

from snorky.brokers import BrokerUnavailable
from snorky.brokers.postgres.link import Link

VERSION = 1
"""Of the schema that this code works with. A change of it is a file of its own, run in order."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")


def check_name(schema: str) -> str:
    """Raises ValueError where it is no plain name."""
    if not _NAME.fullmatch(schema):
        raise ValueError(f"expected a schema of a-z, 0-9 and _, at most 40; got {schema!r}")
    return schema


async def initialise(url: str, schema: str, roles: Iterable[str] = ()) -> None:
    """Make or upgrade the schema, and let roles use it. Raises as psycopg and ``prepare`` do."""
    link = await Link.open(url, timeout=60)
    try:
        await prepare(link, check_name(schema))
        for role in roles:
            await grant(link, schema, role)
    finally:
        await link.close()


async def prepare(link: Link, schema: str, *, make: bool = True) -> None:
    """Find the schema in this version, or make it so.

    Raises BrokerUnavailable where it may not be made, or a newer Snorky made it.
    """
    version = await version_of(link, schema)
    if version == VERSION:
        return
    if version > VERSION:
        raise BrokerUnavailable(
            f"the schema {schema} is of version {version}, made by a newer Snorky; "
            f"this one knows version {VERSION}"
        )
    how = f"run: snorky broker init {link.address}, as a role that may create schemas"
    if not make:
        raise BrokerUnavailable(f"the database has no schema {schema} of version {VERSION}; {how}")
    try:
        await _make(link, schema)
    except errors.InsufficientPrivilege as error:
        await link.run_script("ROLLBACK")
        raise BrokerUnavailable(
            f"the schema {schema} could not be made ({error}); {how}"
        ) from error


async def version_of(link: Link, schema: str) -> int:
    """The version that is there; 0: none."""
    try:
        rows = await link.execute(f"SELECT version FROM {schema}.database")
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return 0
    return int(rows[0][0]) if rows else 0


async def grant(link: Link, schema: str, role: str) -> None:
    """Let a role run a broker here, that may create nothing."""
    name = '"' + role.replace('"', '""') + '"'
    await link.run_script(
        f"GRANT USAGE ON SCHEMA {schema} TO {name};"
        "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE "
        f"ON ALL TABLES IN SCHEMA {schema} TO {name};"
    )


async def _make(link: Link, schema: str) -> None:
    script = files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
    script = script.replace("CHANNEL", schema).replace("SCHEMA", schema)
    # Several processes may come at once. One of them makes it, the others find it made.
    await link.run_script(
        "BEGIN;"
        "SELECT pg_advisory_xact_lock(hashtext('snorky schema'));"
        "DO $make$ BEGIN "
        f"IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA {schema}; END IF;"
        f"IF to_regclass('{schema}.database') IS NULL THEN "
        f"EXECUTE $script${script}$script$;"
        f"EXECUTE 'INSERT INTO {schema}.database (version, identity) "
        f"VALUES ({VERSION}, {schema}.identity())';"
        "END IF; END $make$;"
        "COMMIT;"
    )
