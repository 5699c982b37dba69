"""PubSub channels that tell who is there."""

from __future__ import annotations

from typing import Any

import pytest

from snorky.limits import Limits
from snorky.services.base import RPCError
from snorky.services.pubsub import ChannelOptions, History, PubSubBackend, PubSubService
from snorky.testing import FakeClient, call
from tests.lines import until

CHANNELS = {
    "lobby": ChannelOptions(presence="count"),
    "game/*": ChannelOptions(presence="members", history=History()),
    "*": ChannelOptions(),
}


@pytest.fixture
def pubsub() -> PubSubService:
    return PubSubService("pubsub", channels=CHANNELS)


def subscribe(pubsub: PubSubService, identity: Any, channel: str) -> tuple[FakeClient, Any]:
    client = FakeClient(identity)
    return client, call(pubsub, client, "subscribe", channel=channel)


def presence(client: FakeClient) -> list[Any]:
    return [message for message in client.messages if message["type"] == "presence"]


def test_subscribers_are_told_of_each_other_once_for_each_identity(pubsub: PubSubService) -> None:
    alice, told = subscribe(pubsub, "alice", "game/1")
    assert told["members"] == ["alice"]
    assert "position" in told
    more, told = subscribe(pubsub, "alice", "game/1")
    anonymous, told = subscribe(pubsub, None, "game/1")
    assert told["members"] == ["alice"]
    bob, told = subscribe(pubsub, "bob", "game/1")
    assert told["members"] == ["alice", "bob"]
    joined = {"type": "presence", "channel": "game/1", "from": "bob", "status": "joined"}
    assert presence(alice) == presence(more) == presence(anonymous) == [joined]
    assert presence(bob) == []

    call(pubsub, more, "unsubscribe", channel="game/1")
    pubsub.client_disconnected(anonymous)
    assert presence(bob) == []
    pubsub.client_disconnected(alice)
    assert presence(bob) == [{**joined, "from": "alice", "status": "left"}]
    assert call(pubsub, bob, "presence", channel="game/1") == {"members": ["bob"]}


def test_presence_is_for_subscribers_of_channels_that_have_it(pubsub: PubSubService) -> None:
    client, _ = subscribe(pubsub, "alice", "news")
    with pytest.raises(RPCError, match="No presence"):
        call(pubsub, client, "presence", channel="news")
    with pytest.raises(RPCError, match="Not subscribed"):
        call(pubsub, client, "presence", channel="game/1")


async def test_a_channel_that_only_counts_names_nobody(
    pubsub: PubSubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snorky.presence.COUNT_SECONDS", 0.05)
    alice, told = subscribe(pubsub, "alice", "lobby")
    assert told == {"members": [], "count": 1}
    others = [subscribe(pubsub, identity, "lobby")[0] for identity in ("bob", None, None)]
    await until(lambda: presence(alice)[-1:] and presence(alice)[-1]["count"] == 4)
    assert presence(alice)[-1] == {"type": "presence", "channel": "lobby", "count": 4}
    assert len(presence(alice)) <= 2
    for each in others:
        pubsub.client_disconnected(each)
    await until(lambda: presence(alice)[-1]["count"] == 1)


async def test_a_channel_that_grows_large_counts_until_it_is_small_again(
    pubsub: PubSubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snorky.presence.COUNT_SECONDS", 0.05)
    pubsub.limits = Limits(max_members=10)
    witness, _ = subscribe(pubsub, "witness", "game/1")
    others = [subscribe(pubsub, number, "game/1") for number in range(12)]
    assert others[-1][1]["members"] == []
    assert others[-1][1]["count"] == 13
    await until(lambda: presence(witness)[-1].get("count") == 13)
    heard = presence(witness)
    assert [message.get("status") for message in heard[:10]] == ["joined"] * 10
    assert len(heard) <= 13

    for client, _ in others[5:]:
        pubsub.client_disconnected(client)
    listed = [message["members"] for message in presence(witness) if "members" in message]
    assert [len(each) for each in listed] == [9]
    left = [message["from"] for message in presence(witness) if message.get("status") == "left"]
    assert set(listed[0]) - set(left) == {"witness", 0, 1, 2, 3, 4}


def test_an_identity_is_what_it_was_when_it_came(pubsub: PubSubService) -> None:
    bob, _ = subscribe(pubsub, "bob", "game/1")
    alice, _ = subscribe(pubsub, "alice", "game/1")
    alice.identity = "mallory"
    call(pubsub, alice, "unsubscribe", channel="game/1")
    assert [message["from"] for message in presence(bob)] == ["alice", "alice"]


async def test_nothing_is_left_of_a_channel_that_all_have_left(pubsub: PubSubService) -> None:
    for channel in ("game/1", "lobby", "news"):
        client, _ = subscribe(pubsub, "alice", channel)
        pubsub.client_disconnected(client)
    assert len(pubsub._rosters) == len(pubsub._topics) == 0
    assert pubsub._marks is not None
    assert not pubsub._marks._clients
    assert pubsub.broker._subscriptions == {}  # type: ignore[attr-defined]


def test_trusted_servers_see_who_is_where_whatever_the_channel(pubsub: PubSubService) -> None:
    backend = PubSubBackend("backend", pubsub)
    subscribe(pubsub, "alice", "news")
    subscribe(pubsub, "alice", "news")
    subscribe(pubsub, None, "news")
    subscribe(pubsub, "bob", "game/1")
    server = FakeClient()
    assert call(backend, server, "channels") == [
        {"channel": "game/1", "connections": 1},
        {"channel": "news", "connections": 3},
    ]
    assert call(backend, server, "channels", prefix="ne") == [{"channel": "news", "connections": 3}]
    assert call(backend, server, "members", channel="news") == [
        {"identity": "alice", "connections": 2},
        {"identity": None, "connections": 1},
    ]
    assert call(backend, server, "members", channel="nobody") == []


def test_too_long_lists_are_refused(pubsub: PubSubService) -> None:
    backend = PubSubBackend("backend", pubsub)
    backend.limits = Limits(max_listed_bytes=20)
    for number in range(10):
        subscribe(pubsub, f"person {number}", "news")
        subscribe(pubsub, number, f"channel {number}")
    for command, params, refusal in (
        ("channels", {}, "Too many channels"),
        ("members", {"channel": "news"}, "Too many members"),
    ):
        with pytest.raises(RPCError, match=refusal):
            call(backend, FakeClient(), command, **params)
    assert len(call(backend, FakeClient(), "channels", prefix="channel 1")) == 1


def test_presence_is_one_of_two() -> None:
    with pytest.raises(ValueError, match='"members" or "count"'):
        ChannelOptions(presence="all")  # type: ignore[arg-type]
