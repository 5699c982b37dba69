"""What is counted, and how Prometheus reads it."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import httpx2
import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.metrics import (
    GAUGES,
    HELP,
    LOG_HELP,
    LogFigures,
    Metrics,
    metrics,
    prometheus_text,
)
from snorky.request_handlers.http import BackendHTTPHandler, MetricsHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.pubsub import PubSubService
from tests.patience import patient

NAMES = [field.name for field in fields(Metrics)]


class Desk(RPCService):
    @rpc_command
    def refuse(self, req: Request) -> None:
        raise RPCError("Closed")

    @rpc_command
    def crash(self, req: Request) -> None:
        raise ZeroDivisionError("out of order")

    @rpc_command
    async def wait(self, req: Request) -> None:
        await asyncio.Event().wait()


class Site:
    def __init__(self, port: int) -> None:
        self.port = port
        self._calls = 0

    def connect(self, **options: Any) -> Any:
        return websockets.connect(f"ws://127.0.0.1:{self.port}/ws", **options)

    async def call(self, socket: Any, service: str, command: str, **params: Any) -> None:
        """Call and wait for the answer."""
        self._calls += 1
        message = {"command": command, "params": params, "callId": self._calls}
        await socket.send(json.dumps({"service": service, "message": message}))
        async with asyncio.timeout(patient(5)):
            while json.loads(await socket.recv())["message"].get("callId") != self._calls:
                pass

    async def read(self) -> dict[str, float]:
        """What Prometheus reads, without the prefix and suffix of the names."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            response = await http.get(f"http://127.0.0.1:{self.port}/metrics")
        assert response.status_code == 200
        return {
            sample.name.removeprefix("snorky_").removesuffix("_total"): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }


class Moved:
    """How far the metrics moved since it was made."""

    def __init__(self, site: Site, before: dict[str, float]) -> None:
        self._site = site
        self._before = before

    async def are(self, **expected: int) -> None:
        """Wait until they have moved so far, those that are not named not at all."""
        moved: dict[str, float] = {}
        try:
            async with asyncio.timeout(patient(5)):
                while moved != expected:
                    now = await self._site.read()
                    moved = {
                        name: value - self._before[name]
                        for name, value in now.items()
                        if value != self._before[name]
                    }
        except TimeoutError:
            assert moved == expected


@pytest.fixture
async def site(listen: Callable[..., int]) -> Site:
    limits = Limits(command_timeout=0.05)
    registry = ServiceRegistry([PubSubService("pubsub"), Desk("desk")], limits=limits)
    application = Application(
        [
            SnorkyWebSocketHandler.get_route(registry, "/ws"),
            ("/backend", BackendHTTPHandler, {"service_registry": registry, "api_key": "key"}),
            ("/metrics", MetricsHandler),
        ]
    )
    return Site(listen(application))


@pytest.fixture
async def moved(site: Site) -> Moved:
    return Moved(site, await site.read())


# The text


def test_a_log_is_shown_under_the_name_of_its_service() -> None:
    class Owner: ...

    owner = Owner()
    metrics.watch_log("tasks", owner, lambda owner: LogFigures(7, 3, 100, 0.5, 2))
    lines = prometheus_text().decode().splitlines()
    for name, value in {"head": 7, "first": 3, "bytes": 100, "lag": 0.5, "items": 2}.items():
        assert f'snorky_log_{name}{{service="tasks"}} {float(value)}' in lines

    del owner
    assert 'service="tasks"' not in prometheus_text().decode()


def test_openings_are_shown_by_outcome() -> None:
    before = metrics.resumes.get("trimmed", 0)
    metrics.count_resumes("trimmed")
    text = prometheus_text().decode()
    assert f'snorky_resumes_total{{outcome="trimmed"}} {float(before + 1)}' in text


def test_every_metric_has_a_kind_a_name_and_a_help_that_prometheus_understands() -> None:
    families = {
        family.name: family for family in text_string_to_metric_families(prometheus_text().decode())
    }

    labelled = {"resumes", *(f"log_{name}" for name in LOG_HELP)}
    assert sorted(families) == sorted(f"snorky_{name}" for name in {*NAMES, *labelled})
    for name in set(NAMES) - labelled:
        family = families[f"snorky_{name}"]
        assert family.type == ("gauge" if name in GAUGES else "counter")
        assert family.documentation == HELP[name]
        (sample,) = family.samples
        assert sample.name == f"snorky_{name}" + ("" if name in GAUGES else "_total")
        assert sample.value == getattr(metrics, name)


def test_every_metric_is_documented_and_nothing_else_is() -> None:
    assert set(HELP) == set(NAMES)
    assert LOG_HELP.keys() == LogFigures.__dataclass_fields__.keys()
    assert set(NAMES) > GAUGES
    assert all(re.fullmatch(r"[a-z][a-z_]*[a-z]", name) for name in NAMES)


async def test_the_page_says_what_format_it_is_in(site: Site) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        response = await http.get(f"http://127.0.0.1:{site.port}/metrics")

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE snorky_clients gauge" in response.text


# What moves them


async def test_clients_that_come_and_go(site: Site, moved: Moved) -> None:
    async with site.connect(), site.connect():
        await moved.are(clients=2, clients_connected=2)
    await moved.are(clients_connected=2)


@pytest.mark.usefixtures("refused_pages")
async def test_clients_that_are_refused(site: Site, moved: Moved, expect_log: Any) -> None:
    with pytest.raises(websockets.InvalidStatus):
        await site.connect(origin="http://evil.example")

    await moved.are(clients_refused=1)
    expect_log("403 GET /ws")


@pytest.mark.usefixtures("each_fanout")
async def test_a_publication_and_its_receivers(site: Site) -> None:
    async with site.connect() as alice, site.connect() as bob:
        moved = Moved(site, await site.read())
        await site.call(alice, "pubsub", "subscribe", channel="news")
        await site.call(bob, "pubsub", "subscribe", channel="news")
        await site.call(bob, "pubsub", "publish", channel="news", message=1)

        await moved.are(
            messages_received=3, messages_sent=5, rpc_calls=3, publications=1, subscriptions=2
        )
        await site.call(alice, "pubsub", "unsubscribe", channel="news")
        await bob.close()
        await moved.are(
            messages_received=4,
            messages_sent=6,
            rpc_calls=4,
            publications=1,
            clients=-1,
        )


async def test_calls_that_fail(site: Site, expect_log: Any) -> None:
    async with site.connect() as alice:
        moved = Moved(site, await site.read())
        for command in ("refuse", "crash", "stranger"):
            await site.call(alice, "desk", command)

        await moved.are(
            messages_received=3, messages_sent=3, rpc_calls=3, rpc_errors=3, rpc_exceptions=1
        )
    expect_log("Unhandled exception")


async def test_a_call_that_takes_too_long(site: Site, expect_log: Any) -> None:
    async with site.connect() as alice:
        moved = Moved(site, await site.read())
        await site.call(alice, "desk", "wait")

        await moved.are(
            messages_received=1, messages_sent=1, rpc_calls=1, rpc_errors=1, rpc_timeouts=1
        )
    expect_log("Command timed out")


async def test_messages_that_are_dropped(site: Site, expect_log: Any) -> None:
    async with site.connect() as alice:
        moved = Moved(site, await site.read())
        for text in ("garbage", "{}", '{"service": "stranger", "message": 1}'):
            await alice.send(text)
        await alice.send('{"service": "desk", "message": "no call"}')

        await moved.are(messages_received=4, messages_refused=4)
    for text in ("Invalid JSON", "Malformed message", "non existing service", "Invalid format"):
        expect_log(text)


async def test_requests_to_the_back_end(site: Site, moved: Moved, expect_log: Any) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        url = f"http://127.0.0.1:{site.port}/backend"
        message = {"command": "refuse", "params": {}}
        answered = await http.post(
            url, json={"service": "desk", "message": message}, headers={"X-Backend-Key": "key"}
        )
        refused = await http.post(url, json={}, headers={"X-Backend-Key": "wrong"})

    assert (answered.status_code, refused.status_code) == (200, 401)
    await moved.are(backend_requests=2, backend_refused=1, rpc_calls=1, rpc_errors=1)
    expect_log.all("401 POST /backend")
