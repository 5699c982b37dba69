"""The command ``snorky``."""

from __future__ import annotations

import click

from snorky import version
from snorky.cli.broker import broker
from snorky.cli.call import call
from snorky.cli.check import check
from snorky.cli.demo import demo
from snorky.cli.relay import relay
from snorky.cli.serve import serve
from snorky.cli.tail import tail
from snorky.cli.triggers import triggers


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version, prog_name="snorky")
def main() -> None:
    """The real-time server beside your web application."""


main.add_command(broker)
main.add_command(call)
main.add_command(check)
main.add_command(demo)
main.add_command(relay)
main.add_command(serve)
main.add_command(tail)
main.add_command(triggers)
