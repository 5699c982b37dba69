"""What we use of Tornado that it does not promise: it is there, and nothing else is used."""

from __future__ import annotations

import ast
import asyncio
import logging
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tornado
from tornado.iostream import IOStream
from tornado.web import Application

from snorky.request_handlers.tornado_internals import (
    LogsNoQuery,
    bytes_read_ahead,
    bytes_unwritten,
    headers_of,
    is_finished,
    reason_of,
)

HERE = Path(__file__).parent.parent.parent / "snorky"
INTERNALS = HERE / "request_handlers" / "tornado_internals.py"
USERS = sorted(
    path
    for folder in ("request_handlers", "cli", "edges", "asgi")
    for path in (HERE / folder).rglob("*.py")
    if path != INTERNALS
)


@pytest.fixture
def streams() -> Iterator[tuple[IOStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    stream = IOStream(ours)
    yield stream, theirs
    stream.close()
    theirs.close()


async def test_what_a_stream_has_not_written(streams: tuple[IOStream, socket.socket]) -> None:
    stream, _ = streams
    assert bytes_unwritten(stream) == 0
    stream.write(bytes(10_000_000))
    unwritten = bytes_unwritten(stream)
    assert 0 < unwritten < 10_000_000
    stream.close()
    assert bytes_unwritten(stream) == 0


async def test_what_a_stream_has_read_ahead(streams: tuple[IOStream, socket.socket]) -> None:
    stream, theirs = streams
    theirs.sendall(b"one\ntwo")
    assert await stream.read_until(b"\n") == b"one\n"
    assert bytes_read_ahead(stream) == 3
    assert await stream.read_bytes(3) == b"two"
    assert bytes_read_ahead(stream) == 0


class Page(LogsNoQuery):
    seen: list[Any]

    def get(self) -> None:
        self.set_header("X-Page", "one")
        self.set_cookie("flavour", "vanilla")
        self.set_status(201, "Made")
        before = is_finished(self)
        self.finish("made")
        self.seen += [dict(headers_of(self)), reason_of(self), before, is_finished(self)]


async def test_what_a_handler_is_about_to_answer(
    listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    Page.seen = []
    port = listen(Application([("/", Page)]))
    with caplog.at_level(logging.INFO, "tornado.access"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /?token=secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 201 Made\r\n")
    headers, reason, before, after = Page.seen
    assert headers["X-Page"] == "one"
    assert headers["Set-Cookie"].startswith("flavour=vanilla")
    assert (reason, before, after) == ("Made", False, True)
    lines = [record.getMessage() for record in caplog.records if record.name == "tornado.access"]
    assert len(lines) == 1
    assert "GET / " in lines[0]
    assert "secret" not in lines[0]


@cache
def _private_names_of_tornado() -> set[str]:
    folder = Path(tornado.__file__).parent
    names = set()
    for module in ("web", "websocket", "iostream", "http1connection", "httpserver", "httputil"):
        names |= _private_names_defined_in(folder / f"{module}.py")
    return names


def _private_names_defined_in(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


@pytest.mark.parametrize("path", USERS, ids=lambda path: str(path.relative_to(HERE)))
def test_nothing_else_uses_what_tornado_does_not_promise(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tornado")
        for alias in node.names
    }
    methods = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    theirs = _private_names_of_tornado()
    ours = _private_names_defined_in(path)

    assert {name for name in imported if name.startswith("_")} == set()
    assert used & (theirs - ours) == set()
    assert "_request_summary" not in methods
