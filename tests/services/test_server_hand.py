"""What trusted servers do with the clients of an identity, in whichever process those are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky import ServiceRegistry
from snorky.brokers.memory import MemoryBroker
from snorky.close_codes import DISCONNECTED
from snorky.limits import Limits
from snorky.services.base import RPCError
from snorky.services.chat import ChatService
from snorky.services.identity import IdentityBackend
from snorky.services.pubsub import ChannelOptions, History, PubSubService
from snorky.testing import FakeClient, async_call, call
from tests.lines import until
from tests.one_engine import Connection


class Process:
    def __init__(self, engine: MemoryBroker | None) -> None:
        broker = None if engine is None else Connection(engine)
        channels = {"kept": ChannelOptions(history=History())}
        self.pubsub = PubSubService("pubsub", broker, channels=channels)
        self.chat = ChatService("chat", broker)
        self.registry = ServiceRegistry([self.pubsub, self.chat])
        self.hand = IdentityBackend("identity_backend", self.registry, broker)
        self.backend = ServiceRegistry([self.hand])

    def connect(self, identity: Any) -> FakeClient:
        client = FakeClient(identity, remote_address=f"at {identity}")
        self.registry.client_connected(client)
        return client


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    engine = MemoryBroker()
    both = [Process(engine), Process(engine)]
    for each in both:
        await each.registry.start()
        await each.backend.start()
    await until(lambda: all(each.hand.processes.others for each in both))
    yield both
    for each in both:
        await each.backend.stop()
        await each.registry.stop()


@pytest.fixture
def alone() -> Process:
    return Process(None)


async def test_an_identity_is_disconnected_everywhere(processes: list[Process]) -> None:
    first, second = processes
    alices = [first.connect("alice"), second.connect("alice"), second.connect("alice")]
    bob = second.connect("bob")
    async with asyncio.timeout(1):
        assert await async_call(first.hand, FakeClient(), "disconnect", identity="alice") == 3
    assert [alice.closed for alice in alices] == [DISCONNECTED] * 3
    assert bob.closed is None


async def test_a_message_reaches_all_clients_of_an_identity(processes: list[Process]) -> None:
    first, second = processes
    alices = [first.connect("alice"), second.connect("alice")]
    sent = await async_call(
        first.hand,
        FakeClient(),
        "send",
        identity="alice",
        serviceName="news",
        message={"type": "hello"},
    )
    assert sent == 2
    for alice in alices:
        assert alice.received == [{"service": "news", "message": {"type": "hello"}}]


async def test_the_clients_of_an_identity_are_listed(processes: list[Process]) -> None:
    first, second = processes
    first.connect("alice")
    second.connect("alice")
    server = FakeClient()
    assert await async_call(second.hand, server, "clients", identity="alice") == [
        {"address": "at alice"},
        {"address": "at alice"},
    ]
    assert await async_call(second.hand, server, "clients", identity="bob") == []


async def test_an_identity_is_subscribed_and_unsubscribed_everywhere(
    processes: list[Process],
) -> None:
    first, second = processes
    alices = [first.connect("alice"), second.connect("alice")]
    order = {"identity": "alice", "serviceName": "pubsub", "channel": "news"}
    server = FakeClient()
    assert await async_call(first.hand, server, "subscribe", **order) == 2
    assert await async_call(second.hand, server, "subscribe", **order) == 2  # they are already
    await async_call(second.pubsub, FakeClient(), "publish", channel="news", message=1)
    for alice in alices:
        await until(lambda alice=alice: len(alice.messages) == 2)
        assert alice.messages == [
            {"type": "subscribed", "channel": "news"},
            {"type": "message", "channel": "news", "message": 1},
        ]
    assert await async_call(first.hand, server, "unsubscribe", **order) == 2
    await async_call(second.pubsub, FakeClient(), "publish", channel="news", message=2)
    for alice in alices:
        assert alice.messages[2:] == [{"type": "unsubscribed", "channel": "news"}]


def test_one_process_answers_at_once(alone: Process) -> None:
    alice = alone.connect("alice")
    order = {"identity": "alice", "serviceName": "pubsub", "channel": "kept"}
    assert call(alone.hand, FakeClient(), "subscribe", **order) == 1
    (told,) = alice.messages
    assert (told["type"], "position" in told) == ("subscribed", True)
    call(alone.pubsub, alice, "unsubscribe", channel="kept")
    assert call(alone.hand, FakeClient(), "unsubscribe", **order) == 1
    assert alice.messages == [told]
    assert call(alone.hand, FakeClient(), "disconnect", identity="alice") == 1


def test_a_chat_has_channels_too(alone: Process) -> None:
    alice, bob = alone.connect("alice"), alone.connect("bob")
    call(alone.chat, bob, "join", channel="tea")
    order = {"identity": "alice", "serviceName": "chat", "channel": "tea"}
    call(alone.hand, FakeClient(), "subscribe", **order)
    assert alice.messages == [
        {"type": "subscribed", "channel": "tea", "members": ["bob", "alice"]},
    ]
    call(alone.hand, FakeClient(), "subscribe", **order)
    call(alone.hand, FakeClient(), "unsubscribe", **order)
    call(alone.hand, FakeClient(), "unsubscribe", **order)
    assert [message["type"] for message in alice.messages] == ["subscribed", "unsubscribed"]
    assert [message["status"] for message in bob.messages] == ["joined", "left"]


def test_a_service_without_channels_is_refused(alone: Process) -> None:
    alone.connect("alice")
    for service in ("nothing", "identity"):
        with pytest.raises(RPCError, match="Expected a service with channels"):
            call(
                alone.hand,
                FakeClient(),
                "subscribe",
                identity="alice",
                serviceName=service,
                channel=1,
            )


async def test_who_cannot_be_subscribed_is_not_counted(processes: list[Process]) -> None:
    first, _ = processes
    first.pubsub.limits = Limits(max_subscriptions=1)
    full, free = first.connect("alice"), first.connect("alice")
    await async_call(first.pubsub, full, "subscribe", channel="other")
    order = {"identity": "alice", "serviceName": "pubsub", "channel": "news"}
    assert await async_call(first.hand, FakeClient(), "subscribe", **order) == 1
    assert [message["type"] for message in free.messages] == ["subscribed"]
    first.registry.client_disconnected(free)
    with pytest.raises(RPCError, match="Too many subscriptions"):
        await async_call(first.hand, FakeClient(), "subscribe", **order)
