"""A process of a web application whose ORM writes an outbox: it answers lists, writes, and drains.

python -m tests.convergence.orm.worker django|sqlalchemy DATABASE_URL BACKEND_URL PORT LEASE SEED
"""

from __future__ import annotations

import importlib
import logging
import random
import sys
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from snorky.backend.draining import drainer, postgresql
from tests.patience import patient

Answer = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

MODELS = ("Task", "Note")
WRITER_SECONDS = 0.06


class Site(Protocol):
    """What each ORM offers."""

    answer: Answer
    """WSGI: ``/Task?filter=[...]`` are the rows of a list, with a token."""

    def write(self, chance: random.Random) -> None:
        """One transaction of several statements, or none where the database refuses it."""

    def drained(self, seconds: float) -> bool:
        """Wait until all that was committed has been told."""


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None: ...


class Writer:
    """A thread that writes until it is stopped."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self._site = site
        self._chance = chance
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(self._chance.uniform(0, WRITER_SECONDS)):
            self._site.write(self._chance)

    def stop(self) -> bool:
        """Whether all that it wrote has been told."""
        self._stopping.set()
        self._thread.join(patient(10))
        return not self._thread.is_alive() and self._site.drained(patient(10))


def values(chance: random.Random) -> dict[str, Any]:
    return {
        "color": chance.choice(["red", "blue"]),
        "n": chance.randint(0, 3),
        "team": chance.choice("ab"),
    }


def number(chance: random.Random) -> int:
    return chance.randint(1, 12)


def shorten_intervals(lease: float) -> None:
    """What takes seconds where nobody waits for a test."""
    drainer.LOOK_SECONDS = lease
    drainer.AGAIN_SECONDS = (0.05, 0.1, 0.2)
    drainer.PASS_SECONDS = lease / 3
    postgresql.ASLEEP_SECONDS = 1


def main() -> None:
    kind, database_url, backend_url, port, lease, seed = sys.argv[1:]
    logging.basicConfig(level=logging.CRITICAL)
    shorten_intervals(float(lease))
    module = importlib.import_module(f"tests.convergence.orm.{kind}_site")
    site: Site = module.make_site(database_url, backend_url)
    writer = Writer(site, random.Random(seed))

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] in ("/up", "/stop"):
            is_done = environ["PATH_INFO"] == "/up" or writer.stop()
            start_response("204 No Content" if is_done else "503 Not told", [])
            return []
        return site.answer(environ, start_response)

    server = make_server("127.0.0.1", int(port), answer, Server, Quiet)
    server.serve_forever()


if __name__ == "__main__":
    main()
