"""``snorky broker``: prepare the engine that joins several processes."""

from __future__ import annotations

import asyncio

import click


@click.group()
def broker() -> None:
    """Prepare the engine that joins several processes."""


@broker.command()
@click.argument("url")
@click.option("--schema", default="snorky", show_default=True, help="Where everything is kept.")
@click.option(
    "--grant",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="Let this role run a broker there, which may create nothing. May be given several times.",
)
def init(url: str, schema: str, roles: tuple[str, ...]) -> None:
    """Make, or upgrade, what Snorky keeps in the PostgreSQL database at URL.

    URL is postgresql://USER@HOST/DATABASE. Running it again changes nothing. Redis and Valkey need
    no preparation.
    """
    if url.startswith(("redis://", "rediss://", "valkey://", "valkeys://", "unix://")):
        click.echo("Redis and Valkey need no preparation.")
        return
    try:
        import psycopg

        from snorky.brokers import BrokerUnavailable
        from snorky.brokers.postgres.schema import VERSION, initialise
    except ModuleNotFoundError as error:
        raise click.ClickException('This needs pip install "snorky[postgres]"') from error
    try:
        asyncio.run(initialise(url, schema, roles))
    except (psycopg.Error, OSError, ValueError, BrokerUnavailable) as error:
        raise click.ClickException(f"The schema could not be made: {error}") from error
    click.echo(f"The schema {schema} is ready, in version {VERSION}.")
