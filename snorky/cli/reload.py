"""``snorky serve --reload``: the server anew whenever a Python file beside it is saved."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from watchfiles import PythonFilter, run_process

STOP_SECONDS = 10
"""How long the old server may finish its calls and goodbyes before it is killed."""


def serve_again_and_again(file: Path, arguments: Sequence[str]) -> None:
    """Run ``snorky`` with these arguments until Ctrl-C, anew at every change below FILE's folder.

    A program that cannot be run says so and waits for the next change.
    """
    folder = file.resolve().parent
    _say(f"Watching *.py in {folder}")
    run_process(
        folder,
        target=shlex.join([sys.executable, "-m", "snorky", *arguments]),
        target_type="command",
        watch_filter=PythonFilter(),
        callback=lambda changes: _say(f"Starting anew: {_names(changes, folder)} changed"),
        sigint_timeout=STOP_SECONDS,
        grace_period=0.1,
    )


def _names(changes: Iterable[tuple[object, str]], folder: Path) -> str:
    names = sorted({str(Path(path).relative_to(folder)) for _, path in changes})
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _say(text: str) -> None:
    click.echo(text, err=True)
