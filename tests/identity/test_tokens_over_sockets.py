"""Tokens and real WebSockets: coming in, staying, being renewed, being disconnected."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import websockets

from snorky import ServiceRegistry
from snorky.close_codes import DISCONNECTED, NOT_AUTHENTICATED, TOKEN_EXPIRED
from snorky.identity.jwt import JWTAuthenticator
from snorky.limits import Limits
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.identity import FirstMessageRegistry, IdentityService
from tests.identity.tokens import AUDIENCE, SECRET
from tests.identity.tokens import token as long_token
from tests.request_handlers.websocket_site import Echo, Site, closed, received, said

SHORT = 0.3
EARLIER = 600.0
"""Connections end so many seconds before their token does: the time in tokens is whole seconds."""
ALL = ("header", "subprotocol", "query", "cookie")


def token(name: str = "alice", lasts: float = 600) -> str:
    """A token with which a connection lasts so many seconds."""
    return long_token(name, lasts=EARLIER + lasts)


def authenticator(**options: Any) -> JWTAuthenticator:
    options = {"grace": -EARLIER, "sources": ALL, **options}
    return JWTAuthenticator(SECRET, algorithms=["HS256"], audience=AUDIENCE, **options)


@pytest.fixture
def echo() -> Echo:
    return Echo()


def serve(site: Site, echo: Echo, **options: Any) -> ServiceRegistry:
    by_token = authenticator(**options)
    registry = ServiceRegistry([echo], authenticate=by_token)
    registry.register_service(IdentityService("identity", registry, by_token))
    site.serve(SnorkyWebSocketHandler.get_route(registry, "/ws"))
    return registry


def serve_first_message(site: Site, echo: Echo, **limits: Any) -> FirstMessageRegistry:
    registry = FirstMessageRegistry(
        [echo], authenticator=authenticator(), limits=Limits(**limits) if limits else None
    )
    site.serve(SnorkyWebSocketHandler.get_route(registry, "/ws"))
    return registry


async def refresh(socket: Any, text: Any) -> Any:
    message = {"command": "refresh", "params": {"token": text}, "callId": 1}
    await socket.send(json.dumps({"service": "identity", "message": message}))
    answer = (await received(socket))["message"]
    return answer["data"] if answer["type"] == "response" else answer["message"]


# Coming in


@pytest.mark.parametrize("source", ALL)
async def test_a_token_comes_in_wherever_it_is_looked_for(
    site: Site, echo: Echo, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    serve(site, echo)
    text = token("alice")
    path, options = {
        "header": ("/ws", {"additional_headers": {"Authorization": f"Bearer {text}"}}),
        "subprotocol": ("/ws", {"subprotocols": ["snorky", f"snorky.jwt.{text}"]}),
        "query": (f"/ws?token={text}", {}),
        "cookie": ("/ws", {"additional_headers": {"Cookie": f"other=1; token={text}"}}),
    }[source]

    async with site.connect(path, **options) as socket:
        assert await said(socket, "hello") == "hello"
        assert socket.subprotocol == ("snorky" if source == "subprotocol" else None)
        assert text not in str(socket.response.headers)
    assert [client.identity for client in echo.clients] == ["alice"]
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets")]
    assert ours
    assert not any(text in line or text[-40:] in line for line in ours)


@pytest.mark.parametrize(
    "bad",
    ["none", "%00", "%F0%9F%90%99.a.b", "A" * 9000, "a.b.c", "%0d%0aX-Evil:%201", "EXPIRED"],
)
async def test_a_bad_token_does_not_come_in_and_is_not_logged(
    site: Site, echo: Echo, bad: str, expect_log: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    serve(site, echo)
    text = long_token(lasts=-60) if bad == "EXPIRED" else bad

    with pytest.raises(websockets.InvalidStatus) as refused:
        await site.connect(f"/ws?token={text}")

    response = refused.value.response
    expected = b"Token expired" if bad == "EXPIRED" else b"Invalid token"
    assert (response.status_code, response.body) == (401, expected)
    assert echo.clients == []
    expect_log("401 GET /ws")
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets")]
    assert not any(text in line for line in ours)


# Staying


async def test_who_brings_no_new_token_is_closed_when_the_old_one_ends(
    site: Site, echo: Echo
) -> None:
    registry = serve(site, echo)
    async with site.connect(f"/ws?token={token(lasts=SHORT)}") as socket:
        assert await said(socket, 1) == 1
        assert await closed(socket) == TOKEN_EXPIRED
    client = await echo.left.get()
    assert client.identity == "alice"
    assert registry.disconnect("alice") == 0


async def test_after_the_end_of_a_token_there_is_a_grace_period(site: Site, echo: Echo) -> None:
    serve(site, echo, grace=60)
    async with site.connect(f"/ws?token={long_token(lasts=100)}") as socket:
        answer = await refresh(socket, long_token(lasts=200))
        assert 255 < answer["expiresIn"] <= 260


async def test_a_new_token_over_the_open_connection_lets_it_stay(site: Site, echo: Echo) -> None:
    serve(site, echo)
    async with (
        site.connect(f"/ws?token={token(lasts=SHORT)}") as renewed,
        site.connect(f"/ws?token={token(lasts=SHORT)}") as other,
    ):
        answer = await refresh(renewed, token(lasts=100))
        assert 95 < answer["expiresIn"] <= 100
        assert await closed(other) == TOKEN_EXPIRED
        assert await said(renewed, 1) == 1


async def test_a_shorter_token_shortens_the_stay(site: Site, echo: Echo) -> None:
    serve(site, echo)
    async with site.connect(f"/ws?token={token()}") as socket:
        await refresh(socket, token(lasts=SHORT))
        assert await closed(socket) == TOKEN_EXPIRED


async def test_only_a_good_token_of_the_same_person_renews(
    site: Site, echo: Echo, caplog: pytest.LogCaptureFixture, expect_log: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    serve(site, echo)
    async with site.connect(f"/ws?token={token('alice', lasts=1.5)}") as socket:
        of_bob, old = token("bob"), long_token(lasts=-5)
        assert await refresh(socket, of_bob) == "Not your token"
        assert await refresh(socket, old) == "Token expired"
        assert await refresh(socket, "ü" * 5_000) == "Invalid token"
        assert await refresh(socket, {"a": of_bob}) == "Invalid params"
        expect_log("Invalid params in RPC service")
        assert await closed(socket) == TOKEN_EXPIRED
    lines = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets")]
    assert not any(of_bob in line or old in line or "üü" in line for line in lines)


async def test_services_that_know_no_tokens_keep_their_clients(site: Site, echo: Echo) -> None:
    registry = ServiceRegistry([echo], authenticate=lambda handshake: {"any": "identity"})
    site.serve(SnorkyWebSocketHandler.get_route(registry, "/ws"))
    async with site.connect("/ws") as socket:
        assert await said(socket, 1) == 1
    assert (await echo.left.get()).identity == {"any": "identity"}


async def test_over_sockjs_a_token_ends_too(site: Site, echo: Echo) -> None:
    by_token = authenticator()
    registry = ServiceRegistry([echo], authenticate=by_token)
    site.serve(*SnorkySockJSHandler.get_routes(registry, "/sockjs"))
    async with site.connect(f"/sockjs/0/abc/websocket?token={token(lasts=SHORT)}") as socket:
        assert await socket.recv() == "o"
        assert json.loads((await socket.recv())[1:]) == list(TOKEN_EXPIRED)
    assert (await echo.left.get()).identity == "alice"


# Being disconnected


async def test_all_connections_of_an_identity_are_closed_and_no_others(
    site: Site, echo: Echo
) -> None:
    registry = serve(site, echo)
    async with (
        site.connect(f"/ws?token={token('alice')}") as one,
        site.connect(f"/ws?token={token('alice')}") as two,
        site.connect(f"/ws?token={token('bob')}") as bob,
    ):
        for socket in (one, two, bob):
            await said(socket, 1)
        assert registry.disconnect("alice") == 2
        assert await closed(one) == await closed(two) == DISCONNECTED
        assert await said(bob, 1) == 1
        await echo.left.get()
        await echo.left.get()
        assert registry.disconnect("alice") == 0
        assert registry.disconnect("bob", 4000, "bye") == 1
        assert await closed(bob) == (4000, "bye")


# The first message


async def test_the_token_may_come_in_the_first_message(site: Site, echo: Echo) -> None:
    echo.greeting = "hello"
    registry = serve_first_message(site, echo)
    async with site.connect("/ws") as socket:
        message = {"command": "refresh", "params": {"token": token(lasts=SHORT)}, "callId": 1}
        await socket.send(json.dumps({"service": "identity", "message": message}))
        assert (await received(socket))["message"] == ["hello", "alice"]
        assert (await received(socket))["message"]["type"] == "response"
        assert await said(socket, 1) == 1
        await refresh(socket, token(lasts=1))
        assert registry.disconnect("alice") == 1
        assert await closed(socket) == DISCONNECTED
    assert (await echo.left.get()).identity == "alice"
    assert registry.clients == set()


async def test_who_has_shown_a_token_at_the_door_is_not_asked_again(site: Site, echo: Echo) -> None:
    serve_first_message(site, echo)
    async with site.connect(f"/ws?token={token(lasts=SHORT)}") as socket:
        assert await said(socket, 1) == 1
        assert await closed(socket) == TOKEN_EXPIRED


@pytest.mark.parametrize(
    "first",
    [
        "SECRET",
        "[]",
        '{"service": "echo", "message": "SECRET"}',
        '{"service": ["SECRET"], "message": 1}',
        '{"service": "identity", "message": {"command": "refresh", "params": {"token": "SECRET"}}}',
    ],
)
async def test_who_says_anything_else_first_is_closed_unheard(
    site: Site, echo: Echo, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry = serve_first_message(site, echo)
    async with site.connect("/ws") as socket:
        await socket.send(first)
        await socket.send('{"service": "echo", "message": "and then"}')
        assert await closed(socket) == NOT_AUTHENTICATED
        assert registry.disconnect(None) == 0
    assert echo.clients == []
    assert echo.left.empty()
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets")]
    assert not any("SECRET" in line for line in ours)


async def test_who_says_nothing_is_closed_in_time(site: Site, echo: Echo) -> None:
    registry = serve_first_message(site, echo, handshake_timeout=0.1)
    async with site.connect("/ws") as socket:
        assert await closed(socket) == NOT_AUTHENTICATED
    assert registry.clients == set()
    assert echo.clients == []
