"""``snorky relay``: tell Snorky what the outbox of a database holds, until told to stop."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import click

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.outbox.installation import InstallationError
from snorky.backend.outbox.relay import LEASE_SECONDS, Relay
from snorky.cli.log_writer import STANDARD_ERROR, LogWriter
from snorky.cli.options import first_key
from snorky.cli.relay_metrics import serve_metrics

ANSWER_SECONDS = 30.0


@click.command(short_help="Tell Snorky what changes in a database with triggers.")
@click.argument("database", metavar="DATABASE_URL")
@click.option(
    "--backend-url",
    envvar="SNORKY_BACKEND_URL",
    show_envvar=True,
    default="http://127.0.0.1:5002/backend",
    show_default=True,
    help="Address of Snorky's HTTP back end. Its key is in SNORKY_API_KEY.",
)
@click.option(
    "--service",
    default="datasync_backend",
    show_default=True,
    help="Name of the DataSyncBackend there.",
)
@click.option(
    "--source",
    default="main",
    show_default=True,
    help="Which of the sources of the service (its argument relay) this is.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="TABLE=MODEL",
    help="The model of a table, where it is not the table's own name. May be given several times.",
)
@click.option(
    "--represent",
    metavar="MODULE:NAME",
    help="A dictionary of functions by table: of a row, as a dictionary, to (model, data).",
)
@click.option(
    "--lease",
    type=click.FloatRange(min=0.1),
    default=LEASE_SECONDS,
    show_default=True,
    help="Seconds of the lease that the service gives (its argument lease).",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Serve /metrics, /ready and /live on this port of 127.0.0.1.",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What is logged, to standard error.",
)
def relay(
    database: str,
    backend_url: str,
    service: str,
    source: str,
    tables: tuple[str, ...],
    represent: str | None,
    lease: float,
    metrics_port: int | None,
    log_level: str,
) -> None:
    """Tell Snorky what the outbox of DATABASE_URL holds, again and again.

    DATABASE_URL is sqlite:////absolute/path or postgresql://user:password@host/database, where
    snorky triggers install has been run. The line "Relay ready" says that all that was there has
    been told. While the database or Snorky is away they are tried again. Ctrl-C and SIGTERM stop
    the relay; nothing is lost then, nor when it is killed.
    """
    logging.basicConfig(level=log_level.upper(), handlers=[LogWriter(STANDARD_ERROR)])
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    key = os.environ.get("SNORKY_API_KEY", "")
    if not first_key(key):
        raise click.UsageError("The key of the back end must be in SNORKY_API_KEY.")
    try:
        transport = SnorkyHTTPTransport(backend_url, first_key(key), timeout=ANSWER_SECONDS)
        running = Relay(
            database,
            service=service,
            source=source,
            tables=dict(_named(table) for table in tables),
            represent=None if represent is None else load_functions(represent),
            lease=lease,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except InstallationError as error:
        raise click.ClickException(str(error)) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.stop())
    if metrics_port is not None:
        serve_metrics(running, metrics_port)
    running.run(SnorkyBackend(transport), lambda: click.echo("Relay ready"))
    transport.close()


def load_functions(named: str) -> Mapping[str, Any]:
    """The dictionary of a module. Raises ValueError."""
    module_name, _, name = named.partition(":")
    sys.path.insert(0, "")
    try:
        functions = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--represent is MODULE:NAME of a dictionary: {error}") from error
    if not isinstance(functions, Mapping) or not all(map(callable, functions.values())):
        raise ValueError(f"{named} must be a dictionary of functions by table.")
    return functions


def _named(text: str) -> tuple[str, str]:
    table, equals, model = text.partition("=")
    if not (table and equals and model):
        raise ValueError(f"Expected TABLE=MODEL, such as tickets=Ticket; got {text!r}.")
    return table, model
