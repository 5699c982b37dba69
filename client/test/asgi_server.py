"""The services of server.py inside an ASGI server: by WebSocket and by plain HTTP."""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
from server import make_registry

from snorky.asgi import SnorkyASGI


async def main(port: int) -> None:
    options = {"disconnect_delay": 2, "heartbeat_interval": 0.5}
    app = SnorkyASGI(make_registry(), comet_options=options)
    listening = socket.create_server(("127.0.0.1", port))
    sys.stdout.write(f"listening {listening.getsockname()[1]}\n")
    sys.stdout.flush()
    await uvicorn.Server(uvicorn.Config(app, log_config=None)).serve([listening])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
