"""Who may connect by WebSocket: pages of which origins, and people of which identity."""

import asyncio
from typing import Any

import pytest
import websockets

from snorky import ServiceRegistry
from snorky.identity import Handshake, Refused
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from tests.patience import patient
from tests.request_handlers.websocket_site import Echo, Site, received, said


@pytest.fixture
def echo() -> Echo:
    return Echo(greeting="hello")


@pytest.fixture
def registry(echo: Echo) -> ServiceRegistry:
    return ServiceRegistry([echo])


async def refusal_of(site: Site, path: str = "/", **options: Any) -> tuple[int, str]:
    """Status and text with which a handshake is refused."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        await site.connect(path, **options)
    response = refused.value.response
    assert response.headers["Content-Type"] == "text/plain; charset=UTF-8"
    return response.status_code, response.body.decode()


async def identity_at(site: Site, path: str = "/", **options: Any) -> Any:
    """Who a service takes us for."""
    async with site.connect(path, **options) as socket:
        greeting, identity = (await received(socket))["message"]
        assert greeting == "hello"
        return identity


# Origins


class Hosted:
    """Shakes hands with a Host header of its own."""

    def __init__(self, site: Site, host: str) -> None:
        self.site = site
        self.host = host

    async def status(self, headers: Any) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.site.port)
        lines = [
            "GET / HTTP/1.1",
            f"Host: {self.host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            *(f"{name}: {value}" for name, value in headers.raw_items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(patient(5)):
            status = int((await reader.readline()).split()[1])
        writer.close()
        await writer.wait_closed()
        return status


@pytest.mark.parametrize(
    "origin",
    [None, "http://127.0.0.1", "http://127.0.0.1:8000", "https://127.0.0.1:8443"],
)
async def test_pages_of_this_host_and_programs_may_connect(
    site: Site, registry: ServiceRegistry, origin: str | None
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))

    assert await identity_at(site, origin=origin) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com:8000", "example.com:5001"),
        ("http://[::1]:8000", "[::1]:5001"),
    ],
)
async def test_the_host_is_the_one_the_page_used(
    site: Site, registry: ServiceRegistry, origin: str, host: str
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))

    assert await Hosted(site, host).status(websockets.Headers(Origin=origin)) == 101


@pytest.mark.usefixtures("refused_pages")
@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "example.com"),
        ("null", "localhost:5001"),
        ("null", "[::1]"),
        ("http://localhost", "127.0.0.1"),
        ("http://127.0.0.1.evil.example", "127.0.0.1"),
        ("http://127.0.0.1@evil.example", "127.0.0.1"),
        ("http://evil.example@127.0.0.1", "127.0.0.1"),
        ("http://evil.example, http://127.0.0.1", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("http://", "127.0.0.1"),
        ("*", "127.0.0.1"),
        ("http://[::1", "[::1]"),
        ("http://\u00e9", "127.0.0.1"),
    ],
)
async def test_other_pages_and_strange_ones_may_not(
    site: Site, registry: ServiceRegistry, echo: Echo, origin: str, host: str, expect_log: Any
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))

    assert await Hosted(site, host).status(websockets.Headers(Origin=origin)) == 403
    assert echo.clients == []
    expect_log("403 GET /")


@pytest.mark.usefixtures("refused_pages")
async def test_a_second_origin_does_not_open_the_door(
    site: Site, registry: ServiceRegistry, expect_log: Any
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    for origins in (
        ("http://evil.example", "http://127.0.0.1"),
        ("http://127.0.0.1", "http://evil.example"),
    ):
        headers = websockets.Headers([("Origin", origin) for origin in origins])
        assert await Hosted(site, "127.0.0.1").status(headers) in (400, 403)
    expect_log.all(" GET /")


@pytest.mark.usefixtures("refused_pages")
async def test_a_refused_page_is_told_and_counted(
    site: Site, registry: ServiceRegistry, echo: Echo, expect_log: Any
) -> None:
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    before = metrics.clients_refused

    assert await refusal_of(site, origin="http://evil.example") == (
        403,
        "Cross origin websockets not allowed: http://evil.example",
    )
    assert metrics.clients_refused == before + 1
    assert echo.clients == []
    expect_log("403 GET /")


@pytest.mark.usefixtures("refused_pages")
async def test_listed_origins_may_connect_beside_those_of_the_host(
    site: Site, registry: ServiceRegistry, expect_log: Any
) -> None:
    site.serve(
        SnorkyWebSocketHandler.get_route(registry, allowed_origins=["https://app.example"]),
        SnorkyWebSocketHandler.get_route(registry, "/all", allowed_origins=["*"]),
    )

    for origin in ("https://app.example", "http://127.0.0.1:8000", None):
        assert await identity_at(site, origin=origin) is None
    for origin in ("http://app.example", "https://app.example:8443", "null"):
        assert (await refusal_of(site, origin=origin))[0] == 403
        assert await identity_at(site, "/all", origin=origin) is None
    assert expect_log.all("403 GET /") == 3


@pytest.mark.usefixtures("refused_pages")
async def test_an_overridden_check_origin_decides_alone(
    site: Site, registry: ServiceRegistry, expect_log: Any
) -> None:
    asked: list[str] = []

    class Own(SnorkyWebSocketHandler):
        def check_origin(self, origin: str) -> bool:
            asked.append(origin)
            return origin == "http://evil.example"

    site.serve(Own.get_route(registry, allowed_origins=["http://127.0.0.1"]))

    assert await identity_at(site, origin="http://evil.example") is None
    assert (await refusal_of(site, origin="http://127.0.0.1"))[0] == 403
    assert await identity_at(site) is None
    assert asked == ["http://evil.example", "http://127.0.0.1"]
    expect_log("403 GET /")


# Identity


def name_in(handshake: Handshake) -> str:
    name = handshake.headers.get("Authorization", "").removeprefix("Bearer ")
    if not name:
        raise Refused
    if name == "mallory":
        raise Refused(403, "Not you, größter Feind")
    return name


async def name_in_later(handshake: Handshake) -> str:
    await asyncio.sleep(0)
    return name_in(handshake)


@pytest.mark.parametrize("authenticate", [name_in, name_in_later])
async def test_authenticate_says_who_the_client_is_before_any_service_hears_of_it(
    site: Site, echo: Echo, authenticate: Any
) -> None:
    registry = ServiceRegistry([echo], authenticate=authenticate)
    site.serve(SnorkyWebSocketHandler.get_route(registry))

    headers = {"Authorization": "Bearer alice"}
    assert await identity_at(site, additional_headers=headers) == "alice"


@pytest.mark.parametrize("authenticate", [name_in, name_in_later])
async def test_authenticate_turns_peers_away(
    site: Site, echo: Echo, authenticate: Any, expect_log: Any
) -> None:
    registry = ServiceRegistry([echo], authenticate=authenticate)
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    before = metrics.clients_refused

    assert await refusal_of(site) == (401, "Not authenticated")
    headers = {"Authorization": "Bearer mallory"}
    assert await refusal_of(site, additional_headers=headers) == (403, "Not you, größter Feind")
    assert metrics.clients_refused == before + 2
    assert echo.clients == []
    expect_log("401 GET /")
    expect_log("403 GET /")


async def test_who_cannot_be_checked_does_not_come_in_and_learns_nothing(
    site: Site, echo: Echo, expect_log: Any
) -> None:
    def fail(handshake: Handshake) -> None:
        raise OSError("the user database is away")

    site.serve(SnorkyWebSocketHandler.get_route(ServiceRegistry([echo], authenticate=fail)))

    assert await refusal_of(site) == (500, "Internal error")
    assert echo.clients == []
    expect_log("Unhandled exception while authenticating 127.0.0.1")
    expect_log("500 GET /")


async def test_who_is_not_admitted_in_time_is_told_so(
    site: Site, echo: Echo, expect_log: Any
) -> None:
    given_up = asyncio.Event()

    async def never(handshake: Handshake) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    limits = Limits(handshake_timeout=0.1)
    registry = ServiceRegistry([echo], authenticate=never, limits=limits)
    site.serve(SnorkyWebSocketHandler.get_route(registry))

    assert await refusal_of(site) == (503, "Not admitted in time")
    assert given_up.is_set()
    assert echo.clients == []
    expect_log("503 GET /")


async def test_a_refusal_that_is_none_is_an_error_of_ours(
    site: Site, echo: Echo, expect_log: Any
) -> None:
    def redirect(handshake: Handshake) -> None:
        raise Refused(302, "/login")

    registry = ServiceRegistry([echo], authenticate=redirect)
    site.serve(SnorkyWebSocketHandler.get_route(registry))

    assert await refusal_of(site) == (500, "Internal error")
    error = expect_log("Unhandled exception while authenticating 127.0.0.1")
    assert "from 400 to 599, got 302" in str(error.exc_info)
    expect_log("500 GET /")


async def test_authenticate_sees_the_whole_handshake(site: Site, echo: Echo) -> None:
    seen: list[Handshake] = []
    registry = ServiceRegistry([echo], authenticate=seen.append)
    site.serve(SnorkyWebSocketHandler.get_route(registry, "/ws"))

    path = "/ws?token=gr%C3%B6%C3%9Fer&token=2&empty="
    headers = {"Cookie": "user=alice; other=1", "X-Colour": "blue"}
    page = "http://127.0.0.1:8000"
    assert await identity_at(site, path, additional_headers=headers, origin=page) is None

    (handshake,) = seen
    assert handshake.path == "/ws"
    assert handshake.arguments["token"] == ["größer", "2"]
    assert handshake.cookies == {"user": "alice", "other": "1"}
    assert handshake.headers["x-colour"] == "blue"
    assert handshake.origin == page
    assert handshake.host == f"127.0.0.1:{site.port}"
    assert handshake.remote_address == "127.0.0.1"
    assert handshake.secure is False


@pytest.mark.usefixtures("refused_pages")
async def test_nobody_is_authenticated_for_a_page_that_may_not_connect(
    site: Site, echo: Echo, expect_log: Any
) -> None:
    asked: list[Handshake] = []
    registry = ServiceRegistry([echo], authenticate=asked.append)
    site.serve(SnorkyWebSocketHandler.get_route(registry))

    assert (await refusal_of(site, origin="http://evil.example"))[0] == 403
    assert asked == []
    expect_log("403 GET /")


async def test_who_hangs_up_while_being_authenticated_leaves_nothing_behind(
    site: Site, echo: Echo
) -> None:
    asked, decided = asyncio.Event(), asyncio.Event()

    async def decide(handshake: Handshake) -> None:
        asked.set()
        await decided.wait()

    site.serve(SnorkyWebSocketHandler.get_route(ServiceRegistry([echo], authenticate=decide)))
    before = metrics.clients
    hasty = asyncio.ensure_future(site.connect().__aenter__())
    await asked.wait()
    hasty.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hasty
    decided.set()
    assert await identity_at(site) is None

    async with asyncio.timeout(patient(5)):
        while metrics.clients != before:
            await asyncio.sleep(0.005)
        while echo.left.qsize() != len(echo.clients):
            await asyncio.sleep(0.005)


async def test_an_identity_given_in_open_comes_after_the_one_of_authenticate(
    site: Site, echo: Echo
) -> None:
    class Own(SnorkyWebSocketHandler):
        def open(self, *args: str, **kwargs: str) -> None:
            self.client.identity = [self.client.identity, "renamed"]
            super().open()

    registry = ServiceRegistry([echo], authenticate=lambda handshake: "alice")
    site.serve(Own.get_route(registry))

    assert await identity_at(site) == ["alice", "renamed"]


async def test_two_connections_of_one_person_are_two_clients(site: Site, echo: Echo) -> None:
    registry = ServiceRegistry([echo], authenticate=lambda handshake: "alice")
    site.serve(SnorkyWebSocketHandler.get_route(registry))
    async with site.connect() as one, site.connect() as two:
        for socket in (one, two):
            await received(socket)
            await said(socket, 1)

        assert len(set(echo.clients)) == 2
        assert [client.identity for client in echo.clients] == ["alice", "alice"]
