"""``snorky demo``: a live shared list in one process, with a picture of what is on the wire."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sqlite3
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path

import click
from tornado.httpserver import HTTPServer

from snorky.backend.aio import SnorkyBackend, SnorkyHTTPTransport
from snorky.cli.demo.live import Live
from snorky.cli.demo.store import Store
from snorky.cli.demo.website import website
from snorky.cli.server import close_clients, loop_factory
from snorky.cli.sockets import bind


@click.command(short_help="Show a list that stays live, and what is on the wire.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the page.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the page; 0: any free one. Where it is taken, another is used and said.",
)
@click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file that keeps the list; without it the list ends with the demo.",
)
@click.option(
    "--browser/--no-browser", default=True, help="Open the page in your browser.", show_default=True
)
def demo(host: str, port: int, database: Path | None, browser: bool) -> None:
    """Show a shared list that stays live, and what happens on the wire meanwhile.

    One process plays the web application (with its database, SQLite) and runs Snorky. Nothing else
    is needed: no Django, no Node. Ctrl-C stops it.
    """
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s: %(message)s")
    try:
        store = Store(":memory:" if database is None else str(database))
    except sqlite3.Error as error:
        raise click.ClickException(f"{database} cannot be used: {error}.") from error
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run(store, host, port, browser=browser))
    click.echo("The demo has stopped.")


async def run(store: Store, host: str, port: int, *, browser: bool) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        listening = bind(host, port)
    except click.ClickException:
        listening = bind(host, 0)
        click.echo(f"Port {port} is taken.")
    port = listening[0].getsockname()[1]
    address = f"http://{'localhost' if host == '127.0.0.1' else host}:{port}/"

    live = Live()
    api_key = secrets.token_urlsafe(32)
    private = HTTPServer(live.backend_application(api_key))
    backend_listening = bind("127.0.0.1", 0)
    private.add_sockets(backend_listening)
    backend_url = f"http://127.0.0.1:{backend_listening[0].getsockname()[1]}/backend"
    async with SnorkyHTTPTransport(backend_url, api_key) as transport:
        public = HTTPServer(
            website(store, live, SnorkyBackend(transport), host), max_body_size=64 * 1024
        )
        public.add_sockets(listening)
        click.echo(f"\n  Open {address}  (Ctrl-C stops the demo)\n")
        if browser and can_show_a_browser():
            await asyncio.to_thread(webbrowser.open, address)
        await stopping.wait()
        public.stop()
        await close_clients(live.frontend)
        await public.close_all_connections()
    private.stop()
    await private.close_all_connections()
    store.close()


def can_show_a_browser() -> bool:
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
