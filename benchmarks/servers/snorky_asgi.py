"""Snorky as an ASGI application under uvicorn, with uvloop.

HEARTBEAT in the environment: seconds between signs of life, instead of uvicorn's and our own.
"""

import os
import resource
import socket
from importlib.util import find_spec

import uvicorn
from announcing import announce
from snorky_services import api_key, backend, frontend

from snorky.asgi import SnorkyASGI

HTTP = "httptools" if find_spec("httptools") else "h11"
"""Which parser of requests uvicorn takes: the faster one comes with `uvicorn[standard]`."""


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    address = ("127.0.0.1", int(os.environ.get("PORT", 0)))
    listener = socket.create_server(address, backlog=1024)
    heartbeat = os.environ.get("HEARTBEAT")
    config = uvicorn.Config(
        SnorkyASGI(
            frontend,
            backend,
            api_key,
            comet_options={"heartbeat_interval": float(heartbeat)} if heartbeat else None,
        ),
        loop="uvloop",
        http="auto",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=float(heartbeat) if heartbeat else 20.0,
        log_level="warning",
        access_log=False,
        backlog=1024,
    )
    announce(listener.getsockname()[1], "uvicorn", "websockets", HTTP)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
