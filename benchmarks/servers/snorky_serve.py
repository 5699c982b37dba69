"""What `snorky serve` runs: the command itself, with the services that lie beside.

SERVICES may name another file of services.

Logs warnings only: a line for each of 10,000 connections would be what is measured.
"""

import os
import socket
import threading
import time

import snorky_services
from announcing import announce

from snorky.cli import main as snorky


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def announce_when_listening(port: int) -> None:
    """Print our line as soon as the command, which runs in the main thread, listens."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    announce(port)


if __name__ == "__main__":
    port = int(os.environ.get("PORT", 0)) or free_port()
    threading.Thread(target=announce_when_listening, args=(port,), daemon=True).start()
    ports = ["--port", str(port), "--backend-port", os.environ.get("BACKEND_PORT", "0")]
    services = os.environ.get("SERVICES") or snorky_services.__file__
    snorky(["serve", services, *ports, "--log-level", "warning"])
