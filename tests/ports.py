"""Ports for the servers of tests.

Between asking for a free port and listening on it another program may get it. So each worker of a
parallel run has ports of its own, outside the range that the system hands out by itself.
"""

import os
import socket
from itertools import count

HOST = "127.0.0.1"
FIRST, PORTS_OF_A_WORKER, WORKERS = 10_000, 2_500, 8

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
# Runs one after the other do not meet the ports that the last one has left in TIME_WAIT.
_next = count(os.getpid() * 50)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses, and that nobody else is given."""
    while True:
        port = FIRST + _worker * PORTS_OF_A_WORKER + next(_next) % PORTS_OF_A_WORKER
        with socket.socket() as unused:
            try:
                unused.bind((HOST, port))
            except OSError:
                continue
            return port


def free_ports(number: int) -> list[int]:
    return [free_port() for _ in range(number)]
