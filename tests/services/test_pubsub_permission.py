"""Who may subscribe and publish, decided at once or after a while."""

import asyncio
from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.pubsub import PubSubService
from snorky.testing import FakeClient, async_call, call


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


@pytest.fixture
def bob() -> FakeClient:
    return FakeClient("bob")


def notification(channel: Any, message: Any) -> dict[str, Any]:
    return {"type": "message", "channel": channel, "message": message}


class Guarded(PubSubService):
    """Alice may do everything, nobody else anything."""

    def can_subscribe(self, client: Any, channel: Any) -> bool:
        return client.identity == "alice" and channel is not None

    def can_publish(self, client: Any, channel: Any) -> bool:
        return client.identity == "alice" and channel is not None


class GuardedLater(PubSubService):
    """The same, after a look into a database."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.decided = asyncio.Event()

    async def can_subscribe(self, client: Any, channel: Any) -> bool:
        await self.decided.wait()
        return bool(client.identity == "alice")

    async def can_publish(self, client: Any, channel: Any) -> bool:
        await self.decided.wait()
        return bool(client.identity == "alice")


def test_who_may_subscribe_and_publish_is_decided_by_client_and_channel(
    alice: FakeClient, bob: FakeClient
) -> None:
    guarded = Guarded("guarded")
    call(guarded, alice, "subscribe", channel="news")
    for command in ("subscribe", "join"):
        with pytest.raises(RPCError, match=r"^Not authorized$"):
            call(guarded, bob, command, channel="news")
    with pytest.raises(RPCError, match=r"^Not authorized$"):
        call(guarded, bob, "publish", channel="news", message=1)
    with pytest.raises(RPCError, match="Not authorized"):
        call(guarded, alice, "publish", channel=None, message=1)
    call(guarded, alice, "publish", channel="news", message=2)

    assert alice.messages == [notification("news", 2)]
    assert bob.messages == []


async def test_permission_may_take_its_time(alice: FakeClient, bob: FakeClient) -> None:
    guarded = GuardedLater("guarded")
    guarded.decided.set()
    await async_call(guarded, alice, "subscribe", channel="news")
    for command, params in (("subscribe", {}), ("publish", {"message": 1})):
        with pytest.raises(RPCError, match="Not authorized"):
            await async_call(guarded, bob, command, channel="news", **params)
    await async_call(guarded, alice, "publish", channel="news", message=2)

    assert alice.messages == [notification("news", 2)]
    assert bob.messages == []


async def test_who_left_while_permission_was_awaited_is_not_subscribed(alice: FakeClient) -> None:
    guarded = GuardedLater("guarded")
    subscribing = asyncio.ensure_future(async_call(guarded, alice, "subscribe", channel="news"))
    await asyncio.sleep(0)
    alice.close()
    guarded.client_disconnected(alice)
    guarded.decided.set()
    await subscribing

    assert not guarded._topics
    assert not guarded._topics_by_client


async def test_two_awaited_subscriptions_to_one_channel_make_one(alice: FakeClient) -> None:
    guarded = GuardedLater("guarded")
    both = [
        asyncio.ensure_future(async_call(guarded, alice, "subscribe", channel="news"))
        for _ in range(2)
    ]
    await asyncio.sleep(0)
    guarded.decided.set()

    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert first is None
    assert isinstance(second, RPCError)
    assert str(second) == "Already subscribed"
    guarded.do_publish("news", 1)
    assert alice.messages == [notification("news", 1)]
