"""Identity by cookie: a real web application is asked whose session it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
import websockets
from tornado.web import Application, RequestHandler

from snorky import ServiceRegistry
from snorky.close_codes import TOKEN_EXPIRED
from snorky.identity import Handshake, Refused
from snorky.identity.web import MAX_ANSWER_BYTES, WebApplicationAuthenticator
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from tests.identity.conftest import Site
from tests.patience import patient
from tests.request_handlers.websocket_site import Echo, closed, said


class WebApplication:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answer: tuple[int, Any] = (200, {"identity": "alice"})
        self.headers: dict[str, str] = {}
        self.silent: asyncio.Event | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/whoami"


class WhoAmI(RequestHandler):
    async def get(self) -> None:
        site: WebApplication = self.application.settings["site"]
        site.asked.append((self.request.method or "", self.request.headers.get("Cookie", "")))
        if site.silent is not None:
            await site.silent.wait()
        status, answer = site.answer
        self.set_status(status)
        for name, value in site.headers.items():
            self.set_header(name, value)
        self.finish(answer if isinstance(answer, bytes) else json.dumps(answer))

    post = get

    def check_xsrf_cookie(self) -> None:
        pass


@pytest.fixture
def web(listen: Callable[..., int]) -> WebApplication:
    site = WebApplication()
    site.port = listen(Application([("/whoami", WhoAmI)], site=site))
    return site


Ask = Callable[..., Any]


@pytest_asyncio.fixture
async def ask(web: WebApplication) -> AsyncIterator[Ask]:
    """``ask(cookies, **options)`` -> who that is. The options of the first call hold."""
    made: list[WebApplicationAuthenticator] = []

    async def who(visitor: dict[str, str], **options: Any) -> Any:
        if not made:
            options = {"cookies": ["session"], **options}
            made.append(WebApplicationAuthenticator(web.url, **options))
        return await made[0](Handshake("/ws", {}, cookies=visitor))

    yield who
    for authenticator in made:
        await authenticator.aclose()


async def test_the_web_application_gets_the_cookies_it_needs_and_no_others(
    web: WebApplication, ask: Ask
) -> None:
    cookies = {"session": "s1", "other": "private", "device": "d1"}
    assert await ask(cookies, cookies=["session", "device"], method="POST") == "alice"
    assert web.asked == [("POST", "device=d1; session=s1")]


async def test_who_brings_no_cookie_is_refused_without_a_question(
    web: WebApplication, ask: Ask
) -> None:
    for cookies in ({}, {"other": "x"}, {"session": ""}, {"session": "a\r\nX-User: root"}):
        with pytest.raises(Refused) as refused:
            await ask(cookies)
        assert refused.value.status == 401
    for value in ("a; session=b", 'a"b', "ü", "a b", "a,b", "a\\b", "\x00"):
        with pytest.raises(Refused):
            await ask({"session": value})
    assert web.asked == []


@pytest.mark.parametrize("status", [301, 302, 401, 403])
async def test_the_web_application_says_no(
    web: WebApplication, ask: Ask, status: int, expect_log: Any
) -> None:
    web.answer = (status, {"identity": "alice"})
    web.headers = {"Location": web.url + "?login"} if status < 400 else {}
    for _ in range(2):  # a no is not remembered: who logs in comes in
        with pytest.raises(Refused) as refused:
            await ask({"session": "s1"})
        assert refused.value.status == 401
    assert len(web.asked) == 2
    expect_log.all(f"{status} GET /whoami")
    web.answer = (200, {"identity": 7})
    assert await ask({"session": "s1"}) == 7


async def test_nobody_is_no_identity(web: WebApplication, ask: Ask) -> None:
    web.answer = (200, {"identity": None})
    with pytest.raises(Refused) as refused:
        await ask({"session": "s1"})
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (404, {"identity": "alice"}),
        (200, b"<html>"),
        (200, b"\xff\xfe"),
        (200, b"[" * 10_000),
        (200, []),
        (200, {"user": "alice"}),
        (200, {"identity": "alice", "expiresIn": "soon"}),
        (200, {"identity": "alice", "expiresIn": -1}),
        (200, {"identity": "alice", "expiresIn": True}),
        (200, b'{"identity": "alice", "expiresIn": 1e400}'),
        (200, {"identity": "x" * MAX_ANSWER_BYTES}),
    ],
    ids=range(12),
)
async def test_strange_answers_let_nobody_in(
    web: WebApplication, ask: Ask, status: int, body: Any, expect_log: Any
) -> None:
    web.answer = (status, body)
    with pytest.raises(Refused) as refused:
        await ask({"session": "s1"})
    assert (refused.value.status, refused.value.reason) == (503, "Cannot find out who you are")
    line = expect_log("The web application does not say who connects").getMessage()
    assert "s1" not in line
    expect_log.all(f"{status} GET /whoami")


async def test_a_web_application_that_is_silent_or_away_lets_nobody_in(
    web: WebApplication, ask: Ask, expect_log: Any
) -> None:
    web.silent = asyncio.Event()
    with pytest.raises(Refused) as refused:
        await ask({"session": "s1"}, timeout=0.1)
    assert refused.value.status == 503
    web.silent.set()
    away = WebApplicationAuthenticator("http://127.0.0.1:1/", cookies=["session"])
    with pytest.raises(Refused) as refused:
        await away(Handshake("/ws", {}, cookies={"session": "s1"}))
    assert refused.value.status == 503
    await away.aclose()
    assert expect_log.all("The web application does not say who connects") == 2


async def test_a_yes_is_remembered_for_its_cookie_for_a_while(
    web: WebApplication, ask: Ask
) -> None:
    assert await ask({"session": "s1"}, cache_seconds=60, max_cached=2) == "alice"
    web.answer = (200, {"identity": "bob"})
    assert await ask({"session": "s1"}) == "alice"
    assert await ask({"session": "s2"}) == "bob"
    assert len(web.asked) == 2
    await ask({"session": "s3"})  # there is room for two
    assert await ask({"session": "s1"}) == "bob"
    assert len(web.asked) == 4


async def test_what_is_remembered_ends(web: WebApplication, ask: Ask, expect_log: Any) -> None:
    assert await ask({"session": "s1"}, cache_seconds=0.05) == "alice"
    web.answer = (401, {})
    async with asyncio.timeout(patient(5)):
        while len(web.asked) == 1:
            with suppress(Refused):
                assert await ask({"session": "s1"}) == "alice"
            await asyncio.sleep(0.01)
    with pytest.raises(Refused):
        await ask({"session": "s1"})
    assert expect_log.all("401 GET /whoami") == 2


async def test_cookies_that_the_web_application_sets_reach_nobody_else(
    web: WebApplication, ask: Ask
) -> None:
    web.headers = {"Set-Cookie": "session=of-alice; Path=/"}
    await ask({"session": "s1"})
    await ask({"session": "s2"})
    assert [cookies for _, cookies in web.asked] == ["session=s1", "session=s2"]


@pytest.mark.parametrize("options", [{"cookies": "session"}, {"cookies": []}, {"method": "PUT"}])
def test_careless_configurations_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        WebApplicationAuthenticator("http://x/", **{"cookies": ["session"], **options})


async def test_visitors_of_the_web_application_come_in_and_leave_when_it_said(
    site: Site, web: WebApplication, expect_log: Any
) -> None:
    echo = Echo()
    authenticator = WebApplicationAuthenticator(web.url, cookies=["session"])
    registry = ServiceRegistry([echo], authenticate=authenticator)
    site.serve(SnorkyWebSocketHandler.get_route(registry, "/ws"))
    web.answer = (200, {"identity": "alice", "expiresIn": 0.3})
    headers = {"Cookie": "theme=dark; session=s1"}

    async with site.connect("/ws", additional_headers=headers) as socket:
        assert await said(socket, 1) == 1
        assert await closed(socket) == TOKEN_EXPIRED
    assert (await echo.left.get()).identity == "alice"
    web.answer = (403, {})
    with pytest.raises(websockets.InvalidStatus, match="401"):
        await site.connect("/ws", additional_headers={"Cookie": "session=s2"})
    expect_log("403 GET /whoami")
    expect_log("401 GET /ws")
    await authenticator.aclose()
