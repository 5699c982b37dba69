"""Runs the chat room until Ctrl-C: the page, the service and Socket.IO at one port."""

import argparse
import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
import webbrowser
from pathlib import Path

from room import Room
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, StaticFileHandler

from snorky import ServiceRegistry
from snorky.cli.demo import can_show_a_browser
from snorky.request_handlers.socketio import SnorkySocketIOHandler

HERE = Path(__file__).resolve().parent
CLIENT = HERE / "node_modules" / "socket.io-client" / "dist"
HOST = "127.0.0.1"


class Failed(Exception):
    """The demo cannot run; the text says why."""


class PageHandler(RequestHandler):
    def get(self):
        self.finish((HERE / "static" / "index.html").read_bytes())


def install_client():
    """Fetch the page's Socket.IO client, the first time."""
    if CLIENT.is_dir():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise Failed("The page needs the Socket.IO client: install Node (it brings npm) once.")
    if subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=HERE, check=False).returncode:
        raise Failed("npm could not fetch the Socket.IO client.")


def application():
    registry = ServiceRegistry([Room("room")])
    return Application(
        [
            ("/", PageHandler),
            SnorkySocketIOHandler.get_route(registry),
            ("/static/client/(.*)", StaticFileHandler, {"path": CLIENT}),
            ("/static/(.*)", StaticFileHandler, {"path": HERE / "static"}),
        ]
    )


async def run(port, browser):
    try:
        sockets = bind_sockets(port, address=HOST)
    except OSError as error:
        raise Failed(f"Port {port} is taken; name another with --port.") from error
    HTTPServer(application()).add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    address = f"http://{HOST}:{port}/"
    print(f"\n  Open {address} in two windows. Ctrl-C stops the demo.\n", flush=True)
    if browser:
        await asyncio.to_thread(webbrowser.open, address)
    stop = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows has Ctrl-C alone
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def main():
    parser = argparse.ArgumentParser(description="Run the chat room, until Ctrl-C.")
    parser.add_argument("--port", type=int, default=8000, help="8000; 0 is any")
    parser.add_argument("--no-browser", dest="browser", action="store_false")
    options = parser.parse_args()
    try:
        install_client()
        asyncio.run(run(options.port, options.browser and can_show_a_browser()))
    except KeyboardInterrupt:
        pass
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    print("The chat room is closed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
