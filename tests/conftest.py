"""Unexpected log lines fail a test; servers under test run in its own event loop."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.web import Application

WATCHED = ("snorky", "tornado", "asyncio")


class ExpectLog:
    """Takes the log lines that a test expects; what is left when it ends fails it."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._taken: set[int] = set()

    def __call__(self, text: str, *, level: int | None = None) -> logging.LogRecord:
        """Take the first line that contains ``text``; fails where there is none."""
        for record in self._caplog.get_records("call"):
            if (
                id(record) not in self._taken
                and text in record.getMessage()
                and (level is None or record.levelno == level)
            ):
                self._taken.add(id(record))
                return record
        lines = [record.getMessage() for record in self._caplog.get_records("call")]
        raise AssertionError(f"expected a log line with {text!r}, got {lines}")

    def all(self, text: str) -> int:
        """Take every line that contains ``text``; returns how many there were."""
        found = [r for r in self._caplog.get_records("call") if text in r.getMessage()]
        self._taken.update(map(id, found))
        return len(found)

    def unexpected(self) -> list[str]:
        return [
            f"{record.name} {record.levelname}: {record.getMessage()}"
            for record in self._caplog.get_records("call")
            if record.levelno >= logging.WARNING
            and record.name.split(".")[0] in WATCHED
            and id(record) not in self._taken
        ]


@pytest.fixture(autouse=True)
def expect_log(caplog: pytest.LogCaptureFixture) -> Iterator[ExpectLog]:
    """``expect_log("text")`` takes an expected log line; an unexpected warning fails the test."""
    expect = ExpectLog(caplog)
    yield expect
    unexpected = expect.unexpected()
    assert not unexpected, f"unexpected log lines: {unexpected}"


Listen = Callable[..., int]


@pytest_asyncio.fixture
async def listen() -> AsyncIterator[Listen]:
    """``listen(application, **http_server_options)`` -> the port, on 127.0.0.1."""
    servers: list[HTTPServer] = []

    def start(application: Application, **options: object) -> int:
        server = HTTPServer(application, **options)
        server.listen(0, "127.0.0.1")
        servers.append(server)
        listening: socket.socket = next(iter(server._sockets.values()))
        return int(listening.getsockname()[1])

    yield start
    for server in servers:
        server.stop()
        await server.close_all_connections()

