"""Bodies are kept of those alone who may send them: who asks, and for what, comes first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

import pytest
from tornado.web import Application, RequestHandler

from snorky import ServiceRegistry
from snorky.identity import Handshake, Refused
from snorky.request_handlers.comet import CometRequestHandler, SnorkyCometHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.sockjs.transports import XHRSendHandler
from tests.lines import DEADLINE, until

SENT = 600_000
EVIL = "Origin: http://evil.example\r\n"


def who(handshake: Handshake) -> str:
    if "bad" in handshake.arguments:
        raise Refused
    return "alice"


@pytest.fixture
def port(listen: Callable[..., int]) -> int:
    registry = ServiceRegistry(authenticate=who)
    routes = [
        *SnorkyCometHandler.get_routes(registry, "/comet"),
        *SnorkySockJSHandler.get_routes(registry, "/sockjs"),
    ]
    return listen(Application(routes, log_function=lambda handler: None))


async def answer_to_long_body(port: int, path: str, fields: str, keeps: bool) -> str:
    """The status of a POST, and on its way whether what came of its body is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Content-Length: {SENT + 1}\r\n\r\n"
    writer.write(head.encode() + b"[" * SENT)
    await until(lambda: any(received(handler) == SENT for handler in handlers()))
    (handler,) = [handler for handler in handlers() if received(handler) == SENT]
    kept = handler._body if isinstance(handler, CometRequestHandler) else handler.body
    assert len(kept) == (SENT if keeps else 0)
    writer.write(b"]")
    async with asyncio.timeout(DEADLINE):
        line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line.decode().split()[1]


MADE: WeakSet[RequestHandler] = WeakSet()


@pytest.fixture(autouse=True)
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Notes the handlers that are made."""
    make = RequestHandler.__init__

    def note(handler: RequestHandler, *arguments: Any, **named: Any) -> None:
        MADE.add(handler)
        make(handler, *arguments, **named)

    monkeypatch.setattr(RequestHandler, "__init__", note)
    yield
    MADE.clear()


def handlers() -> list[Any]:
    return [made for made in MADE if isinstance(made, (CometRequestHandler, XHRSendHandler))]


def received(handler: Any) -> int:
    comet = isinstance(handler, CometRequestHandler)
    return int(handler._body_bytes if comet else handler.body_bytes)


@pytest.mark.usefixtures("refused_pages")
@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/comet/messages?session=none", "", "410"),
        ("/comet/messages?session=none&bad=1", "", "401"),
        ("/comet/messages?session=none", EVIL, "403"),
        ("/comet", "", "200"),
        ("/sockjs/000/none/xhr_send", "", "404"),
        ("/sockjs/000/none/xhr_send?bad=1", "", "401"),
        ("/sockjs/000/none/xhr_send", EVIL, "403"),
        ("/sockjs/000/none/jsonp_send", EVIL, "403"),
    ],
)
async def test_what_nobody_may_send_is_dropped_as_it_comes(
    port: int, path: str, fields: str, status: str
) -> None:
    assert await answer_to_long_body(port, path, fields, keeps=False) == status


async def test_of_a_session_it_is_kept(port: int, expect_log: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for path in ("/comet", "/sockjs/000/mine/xhr"):
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        opened = await reader.readuntil(b"\n" if "sockjs" not in path else b"o\n")
        assert opened.startswith(b"HTTP/1.1 200")
        if "sockjs" not in path:
            body = (await reader.readuntil(b"}")).partition(b"\r\n\r\n")[2]
            session = json.loads(body)["session"]
    path = f"/comet/messages?session={session}"
    assert await answer_to_long_body(port, path, "", keeps=True) == "400"
    assert await answer_to_long_body(port, "/sockjs/000/mine/xhr_send", "", keeps=True) == "500"
    expect_log("Expected JSON")
    expect_log("Broken JSON")
    writer.close()
    await writer.wait_closed()
