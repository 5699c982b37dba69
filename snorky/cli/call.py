"""``snorky call``: one command to the back end, from a shell, a cron job or a deployment."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from snorky.backend import SnorkyError, SnorkyHTTPTransport
from snorky.backend.exchange import StatusError, call_envelope, call_result
from snorky.cli.options import backend_options, first_key


@click.command(short_help="Call a command of a service of the back end.")
@click.argument("service")
@click.argument("command")
@click.argument("params", nargs=-1, metavar="[KEY=VALUE]...")
@backend_options
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds to wait for the answer.",
)
def call(
    service: str, command: str, params: tuple[str, ...], url: str, key: str, timeout: float
) -> None:
    """Call COMMAND of SERVICE and print its value as JSON.

    A VALUE that is JSON counts as such, every other as text; "-" reads it from standard input.

    \b
      snorky call pubsub_backend publish channel=news message='{"n": 1}'
      snorky call datasync_backend publishDeltas deltas=- < deltas.json
      snorky call pubsub_backend publish channel=news message='"42"'   # the text 42

    The exit status is 0 where the service answered, 1 where it refused or nobody answered (the
    reason is on standard error), 2 where this line cannot be understood.
    """
    values = parse(params)
    try:
        transport = SnorkyHTTPTransport(url, first_key(key), timeout=timeout)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        value = call_result(transport.send(call_envelope(service, command, values)))
    except StatusError as error:
        raise click.ClickException(f"{error}: {error.reason}") from error
    except (SnorkyError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        transport.close()
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def parse(params: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` words as a command's parameters. Raises click.UsageError."""
    values: dict[str, Any] = {}
    for word in params:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise click.UsageError(f"Expected KEY=VALUE, such as channel=news; got {word!r}.")
        if name in values:
            raise click.UsageError(f"{name} is given twice.")
        values[name] = _value(sys.stdin.read() if text == "-" else text)
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
