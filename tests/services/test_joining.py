"""Joining over a broker that takes its time, or fails: in PubSub, Chat and Events alike."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.chat import ChatService
from snorky.services.events import EventsBackend, EventsService
from snorky.services.pubsub import PubSubService
from snorky.testing import FakeClient, async_call, call
from tests.services.late_broker import LateBroker, settle


class Room:
    """One service, and one place in it that clients join."""

    def __init__(self, broker: LateBroker) -> None:
        self.broker = broker

    def joining(self, client: FakeClient) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.join(client))

    async def join(self, client: FakeClient) -> Any:
        raise NotImplementedError

    async def leave(self, client: FakeClient) -> Any:
        raise NotImplementedError

    async def say(self, text: str) -> None:
        raise NotImplementedError

    @staticmethod
    def heard(client: FakeClient) -> list[str]:
        messages = [message for message in client.messages if message["type"] != "presence"]
        return [message.get("message", message.get("body")) for message in messages]

    service: Any


class PubSubRoom(Room):
    def __init__(self, broker: LateBroker) -> None:
        super().__init__(broker)
        self.service = PubSubService("service", broker)

    async def join(self, client: FakeClient) -> Any:
        return await async_call(self.service, client, "subscribe", channel="news")

    async def leave(self, client: FakeClient) -> Any:
        return await async_call(self.service, client, "unsubscribe", channel="news")

    async def say(self, text: str) -> None:
        await self.service.do_publish("news", text)

    def is_empty(self) -> bool:
        service = self.service
        return not (service._topics or service._joining or service._topics_by_client)


class ChatRoom(Room):
    def __init__(self, broker: LateBroker) -> None:
        super().__init__(broker)
        self.service = ChatService("service", broker)

    async def join(self, client: FakeClient) -> Any:
        return await async_call(self.service, client, "join", channel="news")

    async def leave(self, client: FakeClient) -> Any:
        return await async_call(self.service, client, "leave", channel="news")

    async def say(self, text: str) -> None:
        speaker = FakeClient("speaker")
        await self.join(speaker)
        await async_call(self.service, speaker, "send", channel="news", body=text)
        await self.leave(speaker)

    def is_empty(self) -> bool:
        service = self.service
        return not (service._channels or service._joining or service._memberships)


class EventsRoom(Room):
    def __init__(self, broker: LateBroker) -> None:
        super().__init__(broker)
        self.service = EventsService("service", broker)
        self.backend = EventsBackend("backend", self.service)

    async def join(self, client: FakeClient) -> Any:
        client_id = call(self.service, client, "getId")
        trusted = FakeClient("the web application")
        return await async_call(self.backend, trusted, "connect", clientId=client_id, path="/news")

    async def leave(self, client: FakeClient) -> Any:
        return await async_call(self.service, client, "leave", path="/news")

    async def say(self, text: str) -> None:
        done = self.service.update("test", "/news", text)
        assert done is not None
        await done

    def is_empty(self) -> bool:
        pages = self.service._pages.values()
        return not (
            self.service._listeners or self.service._joining or any(page.paths for page in pages)
        )


@pytest.fixture(params=[PubSubRoom, ChatRoom, EventsRoom])
async def room(request: pytest.FixtureRequest) -> Any:
    return request.param(LateBroker())


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


@pytest.fixture
def bob() -> FakeClient:
    return FakeClient("bob")


async def test_nobody_is_answered_before_the_process_is_subscribed(
    room: Any, alice: FakeClient, bob: FakeClient
) -> None:
    room.broker.done.clear()
    first, second = room.joining(alice), room.joining(bob)
    await settle()
    assert not first.done()
    assert not second.done()
    assert len(room.broker.asked) == 1
    room.broker.done.set()
    await asyncio.gather(first, second)
    await room.say("hello")

    assert room.heard(alice) == room.heard(bob) == ["hello"]


async def test_a_broker_that_fails_leaves_nothing_booked(
    room: Any, alice: FakeClient, bob: FakeClient, expect_log: Any
) -> None:
    room.broker.away = True
    failed = await asyncio.gather(room.joining(alice), room.joining(bob), return_exceptions=True)
    assert all(isinstance(error, Exception) for error in failed)
    await settle()
    assert room.is_empty()
    room.broker.away = False
    await asyncio.gather(room.join(alice), room.join(bob))
    await room.say("hello")

    assert room.heard(alice) == room.heard(bob) == ["hello"]
    await room.leave(alice)
    await room.leave(bob)
    await settle()
    assert room.is_empty()
    assert "service//news" not in room.broker.topics


async def test_who_leaves_while_joining_leaves_nothing_behind(room: Any, alice: FakeClient) -> None:
    room.broker.done.clear()
    joining = room.joining(alice)
    await settle()
    leaving = asyncio.ensure_future(room.leave(alice))
    await settle()
    room.broker.done.set()
    assert await leaving is None
    await asyncio.gather(joining, return_exceptions=True)
    await settle()

    assert room.is_empty()
    assert room.broker.topics == []
    assert room.broker.asked == []


async def test_who_goes_while_joining_leaves_nothing_behind(room: Any, alice: FakeClient) -> None:
    room.broker.done.clear()
    joining = room.joining(alice)
    await settle()
    alice.close()
    room.service.client_disconnected(alice)
    room.broker.done.set()
    await asyncio.gather(joining, return_exceptions=True)
    await settle()

    assert room.is_empty()
    assert room.broker.topics == []


async def test_who_joins_again_after_leaving_while_joining_is_in(
    room: Any, alice: FakeClient
) -> None:
    room.broker.done.clear()
    first = room.joining(alice)
    await settle()
    off = asyncio.ensure_future(room.leave(alice))
    on_again = room.joining(alice)
    await settle()
    room.broker.done.set()
    await asyncio.gather(first, return_exceptions=True)
    await off
    await on_again
    await room.say("hello")

    assert room.heard(alice) == ["hello"]
    await room.leave(alice)
    await settle()
    assert room.is_empty()


async def test_one_who_leaves_while_joining_takes_nothing_from_the_others(
    room: Any, alice: FakeClient, bob: FakeClient
) -> None:
    room.broker.done.clear()
    joining = room.joining(alice), room.joining(bob)
    await settle()
    leaving = asyncio.ensure_future(room.leave(alice))
    await settle()
    room.broker.done.set()
    await leaving
    await asyncio.gather(*joining, return_exceptions=True)
    await room.say("hello")

    assert room.heard(alice) == []
    assert room.heard(bob) == ["hello"]


async def test_a_call_that_is_one_too_many_holds_nothing(alice: FakeClient) -> None:
    broker = LateBroker()
    pubsub = PubSubService("service", broker)
    broker.done.clear()
    most = pubsub.limits.max_pending_calls
    pending = [
        asyncio.ensure_future(async_call(pubsub, alice, "subscribe", channel=channel))
        for channel in range(most)
    ]
    await settle()
    with pytest.raises(RPCError, match="Too many pending calls"):
        await async_call(pubsub, alice, "subscribe", channel="one more")
    broker.done.set()
    await asyncio.gather(*pending)
    await settle()

    assert len(broker.topics) == most
