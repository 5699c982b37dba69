"""``snorky triggers``: let a database itself say what changes in its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from snorky.backend.outbox.installation import InstallationError, Status, Table
from snorky.backend.outbox.sources import connect
from snorky.backend.outbox.table import MAX_OUTBOX_BYTES, MAX_ROW_BYTES
from snorky.cli.options import in_columns

Command = TypeVar("Command", bound=Callable[..., Any])

DATABASE = click.argument("database", metavar="DATABASE_URL")
TABLES = click.argument("tables", metavar="TABLE...", nargs=-1, required=True)


@click.group(short_help="Let a database tell what changes in its tables.")
def triggers() -> None:
    """Install triggers that write what changes in tables into an outbox, for snorky relay.

    DATABASE_URL is sqlite:////absolute/path or postgresql://user:password@host/database.
    """


@triggers.command()
@DATABASE
@TABLES
@click.option(
    "--max-row-bytes",
    type=click.IntRange(min=1),
    default=MAX_ROW_BYTES,
    show_default=True,
    help="A change of a row longer than this is not told: its lists fetch anew.",
)
@click.option(
    "--max-outbox-bytes",
    type=click.IntRange(min=1),
    default=MAX_OUTBOX_BYTES,
    show_default=True,
    help="What the outbox may hold while nobody reads it. Past it all lists fetch anew.",
)
def install(
    database: str, tables: tuple[str, ...], max_row_bytes: int, max_outbox_bytes: int
) -> None:
    """Install the triggers of each TABLE, and the outbox. What is there already is left alone.

    To be run again after each change of a table's columns or partitions.
    """
    with connected(database) as (connection, module):
        module.install(connection, tables, max_row_bytes, max_outbox_bytes)
        found = module.status(connection, tables)
    for table in found.tables:
        if any(_means(name, table) for name in tables):
            click.echo(f"{table.name}: {', '.join([table.condition, *remarks(table)])}")


@triggers.command()
@DATABASE
@click.argument("tables", metavar="[TABLE]...", nargs=-1)
def status(database: str, tables: tuple[str, ...]) -> None:
    """Say which triggers are installed and which are missing, and how much the outbox holds."""
    with connected(database) as (connection, module):
        found = module.status(connection, tables)
    click.echo(as_text(found))


@triggers.command()
@DATABASE
@TABLES
def remove(database: str, tables: tuple[str, ...]) -> None:
    """Remove the triggers of each TABLE; with the last ones the outbox, and what is in it."""
    with connected(database) as (connection, module):
        module.remove(connection, tables)
    for name in tables:
        click.echo(f"{name}: removed")


@contextmanager
def connected(database: str) -> Iterator[tuple[Any, Any]]:
    """A connection and the module for its kind; what goes wrong is told as a message."""
    try:
        connection, module = connect(database)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except Exception as error:
        raise click.ClickException(f"Cannot connect: {_first_line(error)}") from error
    try:
        yield connection, module
    except InstallationError as error:
        raise click.ClickException(str(error)) from error
    except module.errors() as error:
        raise click.ClickException(f"The database refuses: {_first_line(error)}") from error
    finally:
        connection.close()


def as_text(found: Status) -> str:
    """The status as a table for people."""
    rows = [("TABLE", "TRIGGERS", "")]
    rows += [(each.name, str(each.condition), "; ".join(remarks(each))) for each in found.tables]
    lines = [in_columns(rows) if found.tables else "No triggers are installed."]
    age = "" if found.age is None else f", the oldest from {_ago(found.age)}"
    count = f"{found.length:,} row{'' if found.length == 1 else 's'}"
    lines += ["", f"Outbox: length {count} ({found.size:,} bytes){age}"]
    return "\n".join([*lines, *(f"Note: {note}" for note in found.notes)])


def remarks(table: Table) -> list[str]:
    """What there is to say of a table beside its condition."""
    left_out = [f"left out: {', '.join(table.left_out)}"] if table.left_out else []
    return [*left_out, *table.notes]


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} seconds ago"


def _means(name: str, table: Table) -> bool:
    return name == table.name or name.endswith(f".{table.name}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
