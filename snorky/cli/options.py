"""What several commands have: where the back end is, the key that opens it, and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def backend_options(command: Command) -> Command:
    """``--url`` and ``--key``, also from the environment, as ``url`` and ``key``."""
    command = click.option(
        "--key",
        envvar="SNORKY_API_KEY",
        show_envvar=True,
        required=True,
        help="Its key. Better in the environment: others see the command line.",
    )(command)
    return click.option(
        "--url",
        envvar="SNORKY_BACKEND_URL",
        show_envvar=True,
        default="http://127.0.0.1:5002/backend",
        show_default=True,
        help="Address of the HTTP back end.",
    )(command)


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """A table for people: columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def first_key(key: str) -> str:
    """A server may take several keys, separated by commas; a client sends one."""
    return key.split(",")[0].strip()
