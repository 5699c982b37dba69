"""What the demos that are one Tornado program have in common: a page at one port, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import webbrowser
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from running import HOST, Failed, free_port, say
from tornado.web import Application, StaticFileHandler

import snorky
from snorky import ServiceRegistry
from snorky.cli.demo import can_show_a_browser
from snorky.cli.server import close_clients

CLIENT = Path(snorky.__file__).parent / "static"
DEMOS = Path(__file__).resolve().parent


def page_routes(folder: Path) -> list[Any]:
    """What browsers load: Snorky's client, the look that the demos share, the page of this one."""
    return [
        ("/snorky/(.*)", StaticFileHandler, {"path": CLIENT}),
        (r"/(look\.css)", StaticFileHandler, {"path": DEMOS}),
        ("/(.*)", StaticFileHandler, {"path": folder, "default_filename": "index.html"}),
    ]


def options_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Where a port is taken, another is used and said. 0 is any port.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8000, help="port of the page")
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="do not open a browser"
    )
    return parser


async def serve_page(
    port: int,
    frontend: ServiceRegistry,
    make_application: Callable[[], Application],
    *,
    browser: bool,
) -> None:
    """Serve until SIGINT or SIGTERM, then tell the clients of ``frontend`` that it goes."""
    stop = asyncio.Event()
    if os.name == "posix":  # Windows has Ctrl-C alone, which asyncio understands
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = make_application().listen(port, HOST)
    address = f"http://{HOST}:{port}/"
    say(f"\n  Open {address} in two windows. Ctrl-C stops the demo.\n")
    if browser and can_show_a_browser():
        await asyncio.to_thread(webbrowser.open, address)
    await stop.wait()
    server.stop()
    await close_clients(frontend)
    await server.close_all_connections()


def run(demo: Coroutine[Any, Any, None]) -> int:
    """Run it until it has ended, and return the exit code."""
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(demo)
        except Failed as failure:
            print(failure, file=sys.stderr)
            return 1
    say("The demo has stopped.")
    return 0


def main(
    description: str, frontend: ServiceRegistry, make_application: Callable[[], Application]
) -> int:
    """Run a demo that needs no more than its page."""
    options = options_parser(description).parse_args()

    async def demo() -> None:
        port = free_port(options.port, "the page")
        await serve_page(port, frontend, make_application, browser=options.browser)

    return run(demo())
