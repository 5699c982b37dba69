"""The asyncio connector: what differs from the blocking one is only how bytes travel."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from snorky.backend.aio import NoAnswerError, SnorkyBackend, SnorkyError, SnorkyHTTPTransport
from tests.patience import patient

KEY = "swordfish-5f1c"

Connect = Callable[..., SnorkyBackend]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    transports = []

    def connect(url: str, timeout: float = patient(5)) -> SnorkyBackend:
        transports.append(SnorkyHTTPTransport(url, KEY, timeout=timeout))
        return SnorkyBackend(transports[-1])

    yield connect
    for transport in transports:
        await transport.aclose()


async def test_a_call_gives_the_value_of_the_command(backend, connect):
    backend.answers(3)
    assert await connect(backend.url).call("calculator", "sum", a=1, b=2) == 3
    [request] = backend.requests
    assert request.headers["x-backend-key"] == KEY
    assert request.envelope == {
        "service": "calculator",
        "message": {"command": "sum", "params": {"a": 1, "b": 2}},
    }


async def test_a_bare_envelope_is_sent_and_answered_bare(backend, connect):
    backend.sends(200, b'{"service": "echo", "message": "hello"}')
    envelope = {"service": "echo", "message": "hello"}
    assert await connect(backend.url).send(envelope) == envelope


async def test_each_message_leaves_a_line_in_the_log(backend, connect, caplog):
    snorky = connect(backend.url)
    backend.answers(3)
    await snorky.call("calculator", "sum", a=1)
    backend.sends(200, b'{"service": "echo", "message": "hi"}')
    await snorky.send({"service": "echo", "message": "hello"})
    assert [r.getMessage() for r in caplog.records if r.name == "snorky"] == [
        "Service: calculator, Call: sum {'a': 1}",
        "Response: 3",
        "Envelope: {'service': 'echo', 'message': 'hello'}",
        "Answer: {'service': 'echo', 'message': 'hi'}",
    ]


async def test_an_error_of_the_service_is_a_snorky_error(backend, connect):
    backend.refuses("No such dealer")
    with pytest.raises(SnorkyError, match=r"^No such dealer$"):
        await connect(backend.url).call("datasync_backend", "authorizeSubscription", items=[])


async def test_a_status_is_a_runtime_error(backend, connect):
    backend.sends(503, b"")
    with pytest.raises(RuntimeError, match=r"^Error from Snorky server: 503 Service Unavailable$"):
        await connect(backend.url).call("echo", "say")


async def test_a_body_that_is_no_json_is_a_runtime_error(backend, connect):
    backend.sends(200, b"hello")
    with pytest.raises(RuntimeError, match=r"^Non-JSON response from Snorky: hello$"):
        await connect(backend.url).call("echo", "say")


async def test_a_server_that_is_away_is_a_runtime_error(backend, nobody, connect):
    with pytest.raises(NoAnswerError, match="ConnectError"):
        await connect(nobody).call("echo", "say")
    backend.hangs()
    with pytest.raises(NoAnswerError, match="ReadTimeout") as raised:
        await connect(backend.url, timeout=0.05).call("echo", "say")
    assert KEY not in str(raised.value)


async def test_tasks_call_at_the_same_time_over_one_transport(backend, connect):
    backend.answer = lambda handler, request: handler.reply(
        request, {"type": "response", "data": request.params["text"]}
    )
    snorky = connect(backend.url)
    calls = [snorky.call("echo", "say", text=number) for number in range(50)]
    assert await asyncio.gather(*calls) == list(range(50))


async def test_a_cancelled_call_leaves_the_transport_usable(backend, connect):
    snorky = connect(backend.url)
    backend.hangs()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await snorky.call("echo", "say")
    backend.answers("back")
    assert await snorky.call("echo", "say") == "back"


async def test_the_transport_closes_with_its_block(backend):
    async with SnorkyHTTPTransport(backend.url, KEY) as transport:
        assert await SnorkyBackend(transport).call("echo", "say") is None
        assert KEY not in repr(transport)
    with pytest.raises(RuntimeError, match="closed"):
        await transport.send({"service": "echo", "message": 1})


async def test_a_transport_of_the_users_own_is_awaited():
    class Loopback:
        async def send(self, message: Any, json: Any = json) -> Any:
            return {"service": "echo", "message": {"type": "response", "data": message}}

    answer = await SnorkyBackend(Loopback()).call("echo", "say", text="hi")
    assert answer["message"]["params"] == {"text": "hi"}
