"""Tokens over Socket.IO and over SockJS without WebSockets: the same rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.close_codes import TOKEN_EXPIRED
from snorky.identity.jwt import JWTAuthenticator
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.services.identity import IdentityService
from tests.identity.tokens import AUDIENCE, SECRET, token
from tests.patience import patient
from tests.request_handlers.socketio_site import run_pages
from tests.request_handlers.websocket_site import Echo

EARLIER = 600.0
"""Connections end so many seconds before their token does: the time in tokens is whole seconds."""


@pytest.fixture
def registry() -> ServiceRegistry:
    by_token = JWTAuthenticator(
        SECRET, algorithms=["HS256"], audience=AUDIENCE, grace=-EARLIER, sources=("auth", "query")
    )
    registry = ServiceRegistry([Echo()], authenticate=by_token)
    registry.register_service(IdentityService("identity", registry, by_token))
    return registry


async def test_a_page_with_socketio_brings_its_token_renews_it_and_is_closed_at_its_end(
    registry: ServiceRegistry, listen: Callable[..., int], expect_log: Any
) -> None:
    port = listen(Application([SnorkySocketIOHandler.get_route(registry)]))
    options = {"transports": ["websocket"], "reconnection": False}
    async with run_pages() as pages:
        for auth in ({"token": "a.b.c"}, {"token": 7}, {"token": None}, "abc"):
            await pages.do("open", "mallory", f"http://127.0.0.1:{port}", {"auth": auth, **options})
            assert "token" in str(await pages.event("mallory", "connect_error"))
        auth = {"token": token(lasts=EARLIER + 100)}
        await pages.open("alice", f"http://127.0.0.1:{port}", auth=auth, **options)
        (alice,) = registry.clients
        assert alice.identity == "alice"
        answer = await pages.rpc("alice", "identity", "refresh", token=token(lasts=EARLIER + 0.3))
        assert 0 < answer["data"]["expiresIn"] <= 0.3
        await pages.event("alice", "disconnect")
    assert registry.clients == set()


async def test_requests_of_a_polling_session_belong_together_though_their_tokens_differ(
    registry: ServiceRegistry, listen: Callable[..., int], expect_log: Any
) -> None:
    port = listen(Application(SnorkySockJSHandler.get_routes(registry, "/sockjs")))
    url = f"http://127.0.0.1:{port}/sockjs/0/abc"

    async with httpx2.AsyncClient(timeout=patient(10)) as page:

        async def post(what: str, text: str, body: str = "") -> tuple[int, str]:
            answer = await page.post(f"{url}/{what}?token={text}", content=body)
            return answer.status_code, answer.text

        assert await post("xhr", token(lasts=EARLIER + 1)) == (200, "o\n")
        message = json.dumps([json.dumps({"service": "echo", "message": "hi"})])
        assert (await post("xhr_send", token("bob", lasts=EARLIER + 5), message))[0] in (403, 404)
        assert (await post("xhr_send", "a.b.c", message))[0] == 401
        assert (await post("xhr_send", token(lasts=EARLIER + 5), message))[0] == 204
        status, frame = await post("xhr", token(lasts=EARLIER + 60))
        assert (status, json.loads(json.loads(frame[1:])[0])["message"]) == (200, "hi")
        status, frame = await post("xhr", token(lasts=EARLIER + 70))
        assert (status, json.loads(frame[1:])) == (200, list(TOKEN_EXPIRED))
    expect_log.all(" POST /sockjs")
