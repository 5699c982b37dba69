"""What a client is allowed, up to the limit and past it, and for as long as it goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tornado.web import Application
from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.connection import CORK_BYTES
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Request, RPCService, rpc_command
from snorky.services.pubsub import PubSubService
from tests.lines import Peer, masked, until

KIB = 1024
SECONDS = 1.0
"""How long a client keeps trying."""


class Office(RPCService):
    """Waits until it is told to go home; hands out heaps of paper."""

    def __init__(self) -> None:
        super().__init__("office")
        self.go_home = asyncio.Event()
        self.most_unsent = 0

    @rpc_command
    async def wait(self, req: Request) -> str:
        await self.go_home.wait()
        return "done"

    @rpc_command
    def paper(self, req: Request, size: int) -> str:
        self.most_unsent = max(self.most_unsent, req.client.unsent_bytes)
        return "x" * size


class Caller:
    """A peer that calls services; ``client`` is what the server knows it as."""

    def __init__(self, peer: Peer, client: Client) -> None:
        self.peer = peer
        self.client = client
        self._calls = 0

    def send(self, service: str, command: str, **params: Any) -> None:
        self._calls += 1
        message = {"command": command, "params": params, "callId": self._calls}
        self.peer.send_text(json.dumps({"service": service, "message": message}))

    async def message(self) -> Any:
        """What comes next: the value of a response, the text of an error, or what was published."""
        message = json.loads(await self.peer.text())["message"]
        return message["data" if message["type"] == "response" else "message"]

    async def call(self, service: str, command: str, **params: Any) -> Any:
        self.send(service, command, **params)
        return await self.message()


class Site:
    def __init__(self, listen: Callable[..., int], limits: Limits | None = None) -> None:
        self.office = Office()
        self.pubsub = PubSubService("pubsub")
        self.registry = ServiceRegistry([self.office, self.pubsub], limits=limits)
        self.port = listen(Application([SnorkyWebSocketHandler.get_route(self.registry)]))
        self._callers: list[Caller] = []

    async def connect(self) -> Caller:
        others = set(self.registry.clients)
        peer = await Peer.connect(self.port)
        await until(lambda: len(self.registry.clients) > len(others))
        self._callers.append(Caller(peer, (self.registry.clients - others).pop()))
        return self._callers[-1]

    async def close(self) -> None:
        self.office.go_home.set()
        for caller in self._callers:
            await caller.peer.leave()
        await until(lambda: not self.registry.clients and not self.office.tasks)


@pytest.fixture
async def site(listen: Callable[..., int]) -> AsyncIterator[Site]:
    site = Site(listen)
    yield site
    await site.close()


async def test_a_message_may_have_64_kib_and_not_a_byte_more(site: Site) -> None:
    caller = await site.connect()
    call = '{"service":"office","message":{"command":"paper","params":{"size":1},"callId":1}}'
    caller.peer.send_text(call.ljust(64 * KIB))
    assert await caller.message() == "x"
    caller.peer.send_text(call.ljust(64 * KIB + 1))
    assert await caller.peer.close_frame() == (1009, f"message over {64 * KIB} bytes")


async def test_the_size_counts_before_the_message_is_there(site: Site) -> None:
    caller = await site.connect()
    # The header of a frame of 2 ** 62 bytes; the payload would never end.
    caller.peer.send(b"\x81\xff" + (1 << 62).to_bytes(8) + b"mask")
    assert (await caller.peer.close_frame())[0] == 1009
    fragments = await site.connect()
    for _ in range(64):
        fragments.peer.send(masked(Opcode.TEXT if _ == 0 else Opcode.CONT, b"x" * KIB, fin=False))
    fragments.peer.send(masked(Opcode.CONT, b"x", fin=False))
    assert (await fragments.peer.close_frame())[0] == 1009


@pytest.mark.parametrize("size", [900 * KIB, 5000 * KIB])
async def test_any_single_message_reaches_a_client_that_reads(site: Site, size: int) -> None:
    caller = await site.connect()
    for _ in range(3):
        assert len(await caller.call("office", "paper", size=size)) == size


@pytest.mark.usefixtures("each_fanout")
async def test_a_channel_is_not_kept_for_who_does_not_read_it(site: Site) -> None:
    sleeper, reader = await site.connect(), await site.connect()
    for caller in (sleeper, reader):
        assert await caller.call("pubsub", "subscribe", channel="news") is None
    most_unsent = sent = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        site.pubsub.do_publish("news", "x" * 50_000)
        assert len(await reader.message()) == 50_000
        sent += 1
        most_unsent = max(most_unsent, sleeper.client.unsent_bytes)
    assert sent * 50_000 > 5 * DEFAULT_LIMITS.max_unsent_bytes
    assert most_unsent <= DEFAULT_LIMITS.max_unsent_bytes + 51_000
    assert not sleeper.client.connected
    assert reader.client.connected


async def test_who_does_not_read_answers_is_asked_no_more_and_loses_none(site: Site) -> None:
    caller = await site.connect()
    for _ in range(1000):
        caller.send("office", "paper", size=20_000)
    # What waits reaches half the limit, plus what one cork holds; the kernel then takes some.
    await until(lambda: caller.client.unsent_bytes > DEFAULT_LIMITS.max_unsent_bytes // 8)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert await (await site.connect()).call("office", "paper", size=1) == "x"
    most = DEFAULT_LIMITS.max_unsent_bytes // 2 + 2 * (CORK_BYTES + 21_000)
    assert site.office.most_unsent < most
    for _ in range(1000):
        assert len(await caller.message()) == 20_000


async def test_a_client_has_a_bounded_number_of_calls_under_way(
    site: Site, expect_log: Any
) -> None:
    caller, other = await site.connect(), await site.connect()
    for _ in range(DEFAULT_LIMITS.max_pending_calls):
        caller.send("office", "wait")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert await caller.call("office", "wait") == "Too many pending calls"
        assert len(site.office.tasks) == DEFAULT_LIMITS.max_pending_calls
    other.send("office", "wait")  # what one client may do is not taken from the others
    await until(lambda: len(site.office.tasks) == DEFAULT_LIMITS.max_pending_calls + 1)
    site.office.go_home.set()
    for _ in range(DEFAULT_LIMITS.max_pending_calls):
        assert await caller.message() == "done"
    assert await other.message() == "done"
    assert await caller.call("office", "wait") == "done"
    assert expect_log.all("Further lines about client 127.0.0.1 are not logged") <= 1


async def test_a_client_has_a_bounded_number_of_subscriptions(site: Site, expect_log: Any) -> None:
    caller, other = await site.connect(), await site.connect()
    most = DEFAULT_LIMITS.max_subscriptions
    for number in range(most):
        caller.send("pubsub", "subscribe", channel=number)
    for _ in range(most):
        assert await caller.message() is None
    end = time.monotonic() + SECONDS
    number = most
    while time.monotonic() < end:
        number += 1
        answer = await caller.call("pubsub", "subscribe", channel=number)
        assert answer == "Too many subscriptions"
        assert len(site.pubsub._topics) == most
    assert await other.call("pubsub", "subscribe", channel="any") is None
    assert await caller.call("pubsub", "unsubscribe", channel=0) is None
    assert await caller.call("pubsub", "subscribe", channel=0) is None
    assert expect_log.all("Further lines about client 127.0.0.1 are not logged") <= 1


@pytest.mark.usefixtures("each_fanout")
async def test_a_client_has_a_bounded_number_of_lines_in_the_log(
    listen: Callable[..., int], expect_log: Any
) -> None:
    site = Site(listen, Limits(max_log_lines_per_client=5))
    caller = await site.connect()
    for _ in range(200):
        caller.peer.send_text("nonsense")
        caller.send("nobody", "home")
        caller.send("office", "paper", size="large")
        assert await caller.message() == "Unknown service"
        assert await caller.message() == "Invalid params"
    for _ in range(50):
        assert await caller.call("pubsub", "unsubscribe", channel="news") == "Not subscribed"
    assert expect_log.all("Not subscribed in RPC service") == 0
    assert await caller.call("office", "paper", size=3) == "xxx"
    assert sum(map(expect_log.all, ["Invalid JSON", "non existing", "Invalid params"])) == 5
    assert expect_log.all("Further lines about client 127.0.0.1 are not logged") == 1
    await site.close()


async def test_subscriptions_and_calls_end_with_their_client(site: Site) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        caller = await site.connect()
        for number in range(20):
            caller.send("pubsub", "subscribe", channel=number)
            caller.send("office", "wait")
        for _ in range(20):
            assert await caller.message() is None
        caller.peer.reset()
        await until(lambda: not site.registry.clients)
        assert not site.pubsub._topics
        assert not site.pubsub._topics_by_client
        site.office.go_home.set()
        await until(lambda: not site.office.tasks)
        assert not site.office._pending_calls
        site.office.go_home.clear()
