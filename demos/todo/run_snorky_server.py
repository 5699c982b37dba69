"""Snorky's server as a Tornado program of its own: what ``snorky serve live.py`` does, in short.

Pages connect to port 5001, at ``/ws``; Django posts to port 5002, at ``/backend``, with the key.
"""

import asyncio
import contextlib
import os

from live import backend, frontend
from tornado.web import Application

from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler

HOST = "127.0.0.1"
PORT = int(os.environ.get("SNORKY_PORT", "5001"))
BACKEND_PORT = int(os.environ.get("SNORKY_BACKEND_PORT", "5002"))
# Everybody knows this key: it is for trying things on one's own machine, which nobody else reaches.
API_KEY = os.environ.get("SNORKY_API_KEY", "swordfish")


async def main() -> None:
    for_pages = Application([SnorkyWebSocketHandler.get_route(frontend, "/ws")])
    for_pages.listen(PORT, HOST)

    options = {"service_registry": backend, "api_key": API_KEY}
    for_django = Application([("/backend", BackendHTTPHandler, options)])
    for_django.listen(BACKEND_PORT, HOST)

    print(f"Snorky serves pages at ws://{HOST}:{PORT}/ws. Ctrl-C stops it.", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
