"""What the page about the protocol says is what the server does."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx2
import pytest
import websockets

from docs.examples.protocol.client import CallError, Disconnected, connect
from snorky import close_codes
from snorky.identity import Authenticated, Handshake
from snorky.limits import Limits
from snorky.services.identity import FirstMessageRegistry
from tests.conftest import ExpectLog
from tests.docs.conftest import OpenLive
from tests.docs.protocol_site import Live, tokens
from tests.identity.tokens import token
from tests.patience import patient
from tests.request_handlers.websocket_site import closed, received

ECHO = {"command": "echo", "params": {"value": 1}}


def open_socket(url: str, **options: Any) -> Any:
    return websockets.connect(url, **options)


def envelope(message: Any, service: str = "works") -> str:
    return json.dumps({"service": service, "message": message})


async def answer_to(socket: Any, message: Any, service: str = "works") -> Any:
    await socket.send(envelope(message, service))
    return (await received(socket))["message"]


# Connecting


async def test_only_the_subprotocol_of_ours_is_selected(live: Live) -> None:
    for offered, selected in {
        ("snorky",): "snorky",
        ("chat", "snorky"): "snorky",
        ("chat",): None,
        (): None,
    }.items():
        async with open_socket(live.url, subprotocols=offered or None) as socket:
            assert socket.subprotocol == selected
            assert "Sec-WebSocket-Extensions" not in socket.response.headers


@pytest.mark.usefixtures("refused_pages")
async def test_pages_of_the_same_host_are_let_in(live: Live, expect_log: ExpectLog) -> None:
    for origin in ("https://127.0.0.1", "http://127.0.0.1:8000"):
        async with open_socket(live.url, origin=origin) as socket:
            assert (await answer_to(socket, ECHO))["data"] == 1
    for origin in ("https://elsewhere.example", "null"):
        with pytest.raises(websockets.InvalidStatus, match="403"):
            await open_socket(live.url, origin=origin)
        expect_log("403 GET /ws")


@pytest.mark.parametrize(
    "brought",
    [
        lambda token: {"additional_headers": {"Authorization": f"Bearer {token}"}},
        lambda token: {"subprotocols": ["snorky", f"snorky.jwt.{token}"]},
    ],
    ids=["header", "subprotocol"],
)
async def test_a_token_is_found_where_the_page_says(live: Live, brought: Any) -> None:
    async with open_socket(live.url, **brought(token("alice"))) as socket:
        await answer_to(socket, ECHO)
        (client,) = live.frontend.clients
        assert client.identity == "alice"


async def test_refusals_are_answers_of_http(open_live: OpenLive, expect_log: ExpectLog) -> None:
    async def decide(handshake: Handshake) -> Any:
        if "slow" in handshake.arguments:
            await asyncio.Event().wait()
        if "broken" in handshake.arguments:
            raise ZeroDivisionError
        return tokens(handshake)

    live = open_live(authenticate=decide)
    hasty = open_live(authenticate=decide, limits=Limits(handshake_timeout=2))
    for url, status in {
        live.url: 401,
        f"{live.url}?broken": 500,
        f"{hasty.url}?slow": 503,
    }.items():
        with pytest.raises(websockets.InvalidStatus, match=str(status)) as refused:
            await open_socket(url)
        assert refused.value.response.body
        assert refused.value.response.headers["Content-Type"].startswith("text/plain")
    address = live.url.replace("ws:", "http:")
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with httpx2.AsyncClient(timeout=patient(20)) as http:
        assert (await http.get(address)).status_code == 400
        old = await http.get(address, headers={**upgrade, "Sec-WebSocket-Version": "8"})
        assert (old.status_code, old.headers["Sec-WebSocket-Version"]) == (426, "13")
        nowhere = await http.get(address.replace("/ws", "/nowhere"))
        assert nowhere.status_code == 404
    expect_log("Unhandled exception while authenticating")
    for status in (400, 426, 404):
        expect_log(f"{status} GET")


async def test_who_does_not_bring_a_token_first_is_closed(open_live: OpenLive) -> None:
    live = open_live(frontend=FirstMessageRegistry(authenticator=tokens))
    refresh = {"command": "refresh", "params": {"token": token("alice")}, "callId": 0}
    async with open_socket(live.url) as socket:
        answer = await answer_to(socket, refresh, "identity")
        assert answer["data"]["expiresIn"] > 500
        assert (await answer_to(socket, ECHO))["data"] == 1
    bad = {"command": "refresh", "params": {"token": "bad"}}
    async with open_socket(live.url) as socket:
        assert (await answer_to(socket, bad, "identity"))["message"] == "Invalid token"
        assert await closed(socket) == close_codes.NOT_AUTHENTICATED
    async with open_socket(live.url) as socket:
        await socket.send(envelope(ECHO))
        assert await closed(socket) == close_codes.NOT_AUTHENTICATED
    limits = Limits(handshake_timeout=1)
    hasty = open_live(frontend=FirstMessageRegistry(authenticator=tokens, limits=limits))
    async with open_socket(hasty.url) as socket:
        assert await closed(socket) == close_codes.NOT_AUTHENTICATED


# The envelope


@pytest.mark.parametrize(
    "text",
    [
        *("no JSON", "", "[" * 100_000, '{"service": "works"', "NaN"),
        *("[]", "null", '"works"', "{}", '{"service": "works"}', '{"message": 1}'),
        *('{"service": "nobody", "message": 1}', '{"service": ["works"], "message": 1}'),
        *(envelope([]), envelope({"command": "echo"}), envelope({"params": {}})),
    ],
    ids=lambda text: text[:30] or "empty",
)
async def test_what_is_malformed_is_dropped_and_the_connection_stays_up(
    open_live: OpenLive, expect_log: ExpectLog, text: str
) -> None:
    live = open_live(limits=Limits(max_message_bytes=200_000))
    async with open_socket(live.url) as socket:
        await socket.send(text)
        assert (await answer_to(socket, {**ECHO, "callId": 1}))["callId"] == 1
    assert expect_log.all("from client") or expect_log.all("Invalid format in RPC service")


async def test_messages_may_be_binary_and_have_more_keys(live: Live) -> None:
    async with open_socket(live.url) as socket:
        message = {"service": "works", "message": {**ECHO, "more": 1}, "version": 2}
        await socket.send(json.dumps(message).encode())
        answer = await received(socket)
        assert answer == {"service": "works", "message": {"type": "response", "data": 1}}


async def test_what_is_no_number_comes_as_null(live: Live) -> None:
    async with connect(live.url) as connection:
        assert await connection.call("works", "no_number") == [None, None]


# Calls


@pytest.mark.parametrize("call_id", [0, -1, 1.5, "x", "", False, [1], {"a": None}])
async def test_a_call_id_comes_back_as_it_was(live: Live, call_id: Any) -> None:
    async with open_socket(live.url) as socket:
        answer = await answer_to(socket, {**ECHO, "callId": call_id})
        assert answer == {"type": "response", "callId": call_id, "data": 1}
        assert type(answer["callId"]) is type(call_id)
        failed = {"command": "refuse", "params": {}, "callId": call_id}
        answer = await answer_to(socket, failed)
        assert answer == {"type": "error", "callId": call_id, "message": "Not today"}


async def test_a_call_without_an_id_is_answered_too(live: Live) -> None:
    async with open_socket(live.url) as socket:
        for message in (ECHO, {**ECHO, "callId": None}):
            assert await answer_to(socket, message) == {"type": "response", "data": 1}
        answer = await answer_to(socket, {"command": "refuse", "params": {}})
        assert answer == {"type": "error", "callId": None, "message": "Not today"}


async def test_calls_under_way_have_a_limit(open_live: OpenLive) -> None:
    live = open_live(limits=Limits(max_pending_calls=2))
    async with connect(live.url) as connection:
        waiting = [asyncio.create_task(connection.call("works", "wait")) for _ in range(2)]
        await connection.call("works", "echo", value=1)
        with pytest.raises(CallError, match=r"^Too many pending calls$"):
            await connection.call("works", "wait")
        live.works.go_on.set()
        assert await asyncio.gather(*waiting) == ["waited", "waited"]


async def test_calls_under_way_have_an_end(open_live: OpenLive, expect_log: ExpectLog) -> None:
    live = open_live(limits=Limits(command_timeout=0.2))
    async with connect(live.url) as connection:
        with pytest.raises(CallError, match=r"^Command timed out$"):
            await connection.call("works", "wait")
    expect_log("Command timed out after 0.2 s")


@pytest.mark.usefixtures("each_fanout")
async def test_a_sender_hears_its_own_publication_before_the_answer(live: Live) -> None:
    async with open_socket(live.url) as socket:
        subscribe = {"command": "subscribe", "params": {"channel": 1}, "callId": 0}
        await answer_to(socket, subscribe, "pubsub")
        other = {"command": "subscribe", "params": {"channel": True}, "callId": 0}
        assert (await answer_to(socket, other, "pubsub"))["type"] == "response"
        params = {"channel": 1.0, "message": "Hi"}  # the same channel as JSON has it
        calls = [{"command": "publish", "params": params, "callId": n} for n in range(1, 4)]
        for call in calls:
            await socket.send(envelope(call, "pubsub"))
        heard = [(await received(socket))["message"] for _ in range(6)]
        kinds = [message["type"] for message in heard]
        assert kinds == ["message", "response"] * 3
        assert [m["callId"] for m in heard if "callId" in m] == [1, 2, 3]


# Staying alive, limits, closing


async def test_an_empty_text_is_answered_on_the_subprotocol(live: Live) -> None:
    async with open_socket(live.url, subprotocols=["snorky"]) as socket:
        await socket.send("")
        async with asyncio.timeout(patient(20)):
            assert await socket.recv() == ""


async def test_faults_of_the_client_close_the_connection(live: Live) -> None:
    too_long = envelope({**ECHO, "padding": "x" * 64 * 1024})
    async with open_socket(live.url) as socket:
        await socket.send(too_long)
        code, _ = await closed(socket)
        assert code == 1009
    async with open_socket(live.url) as socket:
        await socket.send(b"\xff", text=True)
        code, _ = await closed(socket)
        assert code == 1007


async def test_a_connection_ends_with_its_token(open_live: OpenLive) -> None:
    def for_a_moment(handshake: Handshake) -> Any:
        return Authenticated("alice", time.time() + 0.2)

    live = open_live(authenticate=for_a_moment)
    async with open_socket(live.url) as socket:
        assert await closed(socket) == close_codes.TOKEN_EXPIRED


async def test_the_back_end_disconnects_somebody(live: Live) -> None:
    async with connect(live.url, token=lambda: token("alice")) as alice, connect(live.url):
        await alice.call("works", "echo", value=1)
        assert await live.back_end("identity_backend", "disconnect", identity="bob") == 0
        assert await live.back_end("identity_backend", "disconnect", identity="alice") == 1
        with pytest.raises(Disconnected) as ended:
            await alice.call("works", "wait")
        assert (ended.value.code, ended.value.reason) == close_codes.DISCONNECTED
