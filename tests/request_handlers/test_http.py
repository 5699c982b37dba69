"""The HTTP back end: one envelope in, one out, over real sockets."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from tornado.web import Application

from snorky.metrics import metrics
from snorky.request_handlers.http import HTTPClient, LiveHandler
from snorky.services.base import Service
from snorky.services.pubsub import PubSubBackend, PubSubService
from snorky.testing import FakeClient, call
from tests.patience import patient
from tests.request_handlers.http_backend import KEY, Backend, refused


@pytest.fixture
async def backend(listen: Callable[..., int]) -> AsyncIterator[Backend]:
    async with httpx2.AsyncClient(timeout=patient(10), trust_env=False) as client:
        yield Backend(listen, client)


# Answers


@pytest.mark.parametrize("message", [None, 0, "größer 😀", [1, {"a": None}], {"type": "error"}])
async def test_the_answer_is_the_services_message_in_its_envelope(
    backend: Backend, message: Any
) -> None:
    response = await backend.post({"service": "echo", "message": message})

    assert response.status_code == 200
    assert response.json() == {"service": "echo", "message": message}
    assert response.headers["Content-Type"] == "application/json; charset=UTF-8"


async def test_utf8_goes_both_ways(backend: Backend) -> None:
    response = await backend.post('{"service": "echo", "message": "größer"}'.encode())

    assert response.content == '{"service":"echo","message":"größer"}'.encode()


async def test_a_call_is_answered_with_its_value(backend: Backend) -> None:
    assert await backend.call("add", a=1, b=2) == {"type": "response", "callId": 0, "data": 3}


@pytest.mark.parametrize(
    ("command", "params", "text"),
    [
        ("refuse", {}, "Closed"),
        ("add", {}, "Invalid params"),
        ("stranger", {}, "Unknown command"),
        ("crash", {}, "Internal error"),
    ],
)
async def test_an_rpc_error_is_an_answer_like_any_other(
    backend: Backend, command: str, params: Any, text: str, expect_log: Any
) -> None:
    assert await backend.call(command, **params) == {
        "type": "error",
        "callId": 0,
        "message": text,
    }
    expect_log.all("Invalid params")
    expect_log.all("Unhandled exception")


async def test_arrays_and_objects_can_be_keys_here_too(backend: Backend) -> None:
    assert (await backend.call("key", value=[1, {"a": []}]))["data"] == "found"
    assert (await backend.call("key", value={"a": [1, {"b": 2}]}))["data"] == "found"


async def test_a_trusted_server_publishes_to_the_front_end(backend: Backend) -> None:
    frontend = PubSubService("pubsub")
    backend.registry.register_service(PubSubBackend("pubsub_backend", frontend))
    alice = FakeClient()
    call(frontend, alice, "subscribe", channel=["news", {"page": 1}])

    params = {"channel": ["news", {"page": 1}], "message": "hello"}
    response = await backend.post(
        {"service": "pubsub_backend", "message": {"command": "publish", "params": params}}
    )

    assert response.json()["message"] == {"type": "response", "data": None}
    assert alice.messages == [{"type": "message", **params}]


async def test_several_requests_may_share_a_connection(backend: Backend) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    for message in ("1", "2"):
        body = b'{"service": "echo", "message": %s}' % message.encode()
        head = f"POST /backend HTTP/1.1\r\nHost: a\r\nX-Backend-Key: {KEY}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        answer = b'{"service":"echo","message":%s}' % message.encode()
        assert await reader.readexactly(len(answer)) == answer
    writer.close()
    await writer.wait_closed()


async def test_the_client_of_a_request_is_anonymous_and_has_an_address(backend: Backend) -> None:
    await backend.post({"service": "echo", "message": 1})

    (client,) = backend.echo.clients
    assert isinstance(client, HTTPClient)
    assert (client.identity, client.remote_address) == (None, "127.0.0.1")


async def test_the_first_message_is_the_answer_and_later_ones_are_dropped(
    backend: Backend, expect_log: Any
) -> None:
    assert await backend.call("chatter") == "first"
    expect_log("More than one message for one back end request", level=logging.WARNING)


async def test_a_request_that_was_answered_can_be_sent_nothing_more(backend: Backend) -> None:
    await backend.post({"service": "echo", "message": 1})
    (client,) = backend.echo.clients
    async with asyncio.timeout(patient(5)):
        while client.connected:
            await asyncio.sleep(0)

    client.send("late")
    with pytest.raises(TypeError):
        client.send(object())


# What is no message


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"{", b"\xff\xfe", b'{"service": "\xff"}', b"NaN", b"[" * 900]
)
async def test_a_body_that_is_not_json_is_refused(
    backend: Backend, body: bytes, expect_log: Any
) -> None:
    refused(await backend.post(body), 400, "Bad Request", "Invalid JSON", expect_log)


@pytest.mark.parametrize("body", [None, [], "text", {}, {"service": "echo"}, {"message": 1}])
async def test_a_body_that_is_no_envelope_is_refused_and_told_why(
    backend: Backend, body: Any, expect_log: Any
) -> None:
    text = f"Malformed message from client 127.0.0.1: {body}"
    refused(await backend.post(body), 400, "Bad Request", text, expect_log)
    expect_log(text)


@pytest.mark.parametrize("service", ["stranger", "größer\n", None, ["echo"]])
async def test_an_unknown_service_is_refused(
    backend: Backend, service: Any, expect_log: Any
) -> None:
    response = await backend.post({"service": service, "message": 1})

    shown = str(service).replace("\n", r"\n")
    text = f'Message for non existing service "{shown}" from client 127.0.0.1'
    refused(response, 400, "Bad Request", text, expect_log)
    expect_log(text)


@pytest.mark.parametrize("message", [None, [], "sum", {"command": "add"}, {"params": {}}])
async def test_an_rpc_message_that_is_no_call_is_refused(
    backend: Backend, message: Any, expect_log: Any
) -> None:
    response = await backend.post({"service": "desk", "message": message})

    text = f'Invalid format in RPC service "desk". Message: {message}'
    refused(response, 400, "Bad Request", text, expect_log)
    expect_log(text)


async def test_a_service_that_fails_is_our_fault(backend: Backend, expect_log: Any) -> None:
    response = await backend.post({"service": "faulty", "message": 1})

    text = 'Unhandled exception in service "faulty", message from client 127.0.0.1'
    refused(response, 500, "Internal Server Error", text, expect_log)
    expect_log(text, level=logging.ERROR)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_post_is_allowed(backend: Backend, method: str, expect_log: Any) -> None:
    response = await backend.client.request(method, backend.url, headers={"X-Backend-Key": KEY})

    assert response.status_code == 405
    assert response.reason_phrase == "Method Not Allowed"
    if method != "HEAD":
        assert response.json() == {"error": "Method Not Allowed"}
    assert expect_log.all(f"405 {method} /backend") >= 1


async def test_requests_and_refusals_are_counted(backend: Backend, expect_log: Any) -> None:
    before = (metrics.backend_requests, metrics.backend_refused)
    for _ in range(3):
        await backend.post({"service": "echo", "message": 1})
    await backend.post(b"garbage")
    await backend.post({"service": "stranger", "message": 1})
    await backend.post({"service": "echo", "message": 1}, key=None)

    assert metrics.backend_requests == before[0] + 6
    assert metrics.backend_refused == before[1] + 3
    expect_log.all("POST /backend")
    expect_log("stranger")


@pytest.mark.parametrize(("reason", "text"), [("enough", "enough"), ("", "The request was closed")])
async def test_a_service_may_close_a_request_instead_of_answering(
    backend: Backend, reason: str, text: str, expect_log: Any
) -> None:
    class Closing(Service):
        def process_message_from(self, client: Any, msg: Any) -> None:
            client.close(4000, reason)

    backend.registry.register_service(Closing("closing"))
    response = await backend.post({"service": "closing", "message": 1})

    refused(response, 500, "Internal Server Error", text, expect_log)


async def test_a_process_says_that_it_is_alive(listen: Any, backend: Backend) -> None:
    port = listen(Application([("/live", LiveHandler)]))
    response = await backend.client.get(f"http://127.0.0.1:{port}/live")

    assert response.json() == {"status": "live"}
    assert response.headers["Cache-Control"] == "no-store"
