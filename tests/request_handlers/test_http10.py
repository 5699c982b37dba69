"""Over HTTP/1.0 a stream ends where its connection does, also where that was to be kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from tests.lines import DEADLINE

POST = "POST {path} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
GET = "GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"


async def all_that_comes(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    async with asyncio.timeout(DEADLINE):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def serve(listen: Callable[..., int], *routes: Any) -> int:
    return listen(Application(list(routes), log_function=lambda handler: None))


@pytest.mark.parametrize(
    ("request_text", "end"),
    [
        (POST.format(path="/000/a/xhr_streaming"), b"h\no\n"),
        (GET.format(path="/000/a/eventsource"), b"\r\ndata: o\r\n\r\n"),
        (GET.format(path="/000/a/htmlfile?c=x"), b"</script>\r\n"),
    ],
)
async def test_a_stream_of_sockjs_ends(
    listen: Callable[..., int], request_text: str, end: bytes
) -> None:
    port = serve(listen, *SnorkySockJSHandler.get_routes(ServiceRegistry(), "", response_limit=1))
    answer = await all_that_comes(port, request_text)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"keep-alive" not in answer.lower()
    assert answer.endswith(end)


async def test_a_stream_of_events_ends(listen: Callable[..., int]) -> None:
    registry = ServiceRegistry()
    port = serve(listen, *SnorkyCometHandler.get_routes(registry, "/comet"))
    opened = await all_that_comes(port, POST.format(path="/comet").replace("keep-alive", "close"))
    session = json.loads(opened.partition(b"\r\n\r\n")[2])["session"]
    stream = asyncio.create_task(
        all_that_comes(port, GET.format(path=f"/comet/events?session={session}"))
    )
    (client,) = registry.clients
    client.send(1)
    client.close()
    answer = await stream
    assert b"keep-alive" not in answer.lower()
    assert b"id: 1\ndata: 1\n\n" in answer
    assert answer.endswith(b'event: close\ndata: [1000, ""]\n\n')
