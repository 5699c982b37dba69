"""Channels that are conflated: the newest message of each key, at most so many times a second."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from snorky.services.pubsub import ChannelOptions, Conflate, History, PubSubService
from snorky.services.pubsub.conflation import MAX_KEYS
from snorky.testing import FakeClient, call
from tests.lines import until

CHANNELS = {
    "prices": ChannelOptions(conflate=Conflate(per_second=10, key="symbol")),
    "clock": ChannelOptions(conflate=Conflate(per_second=10)),
    "kept": ChannelOptions(conflate=Conflate(per_second=10, key="symbol"), history=History()),
}


@pytest.fixture
async def pubsub() -> PubSubService:
    return PubSubService("pubsub", channels=CHANNELS)


def subscribe(pubsub: PubSubService, channel: str, **since: Any) -> tuple[FakeClient, Any]:
    client = FakeClient()
    return client, call(pubsub, client, "subscribe", channel=channel, **since)


def publish(pubsub: PubSubService, channel: str, *messages: Any) -> None:
    for message in messages:
        call(pubsub, FakeClient(), "publish", channel=channel, message=message)


def price(symbol: Any, price: float) -> dict[str, Any]:
    return {"symbol": symbol, "price": price}


def heard(client: FakeClient) -> list[Any]:
    return [message["message"] for message in client.messages]


async def test_the_first_comes_at_once_and_then_the_newest_of_each_key(
    pubsub: PubSubService,
) -> None:
    client, answer = subscribe(pubsub, "prices")
    assert answer is None
    publish(pubsub, "prices", price("A", 1))
    assert heard(client) == [price("A", 1)]
    publish(pubsub, "prices", price("A", 2), price("B", 1), price("A", 3), "no object")
    assert len(heard(client)) == 1
    await until(lambda: len(heard(client)) > 1)
    assert heard(client)[1:] == [price("B", 1), price("A", 3), "no object"]


async def test_no_more_often_than_asked_for(pubsub: PubSubService) -> None:
    client, _ = subscribe(pubsub, "clock")
    loop = asyncio.get_running_loop()
    times: list[float] = []
    begun = loop.time()
    while loop.time() < begun + 0.35:
        publish(pubsub, "clock", loop.time())
        times += [loop.time()] * (len(heard(client)) - len(times))
        await asyncio.sleep(0)
    assert 3 <= len(times) <= 4
    assert all(later - earlier > 0.09 for earlier, later in itertools.pairwise(times))


async def test_what_is_newest_is_never_held_back_for_good(pubsub: PubSubService) -> None:
    client, _ = subscribe(pubsub, "clock")
    publish(pubsub, "clock", *range(100))
    await until(lambda: heard(client) == [0, 99])


async def test_keys_that_somebody_makes_up_do_not_fill_the_memory(pubsub: PubSubService) -> None:
    client, _ = subscribe(pubsub, "prices")
    publish(pubsub, "prices", *(price(number, 1) for number in range(MAX_KEYS + 1)))
    assert len(heard(client)) == MAX_KEYS + 1


async def test_who_missed_something_is_told_the_newest_of_each_key(pubsub: PubSubService) -> None:
    client, joined = subscribe(pubsub, "kept")
    publish(pubsub, "kept", price("A", 1))
    await until(lambda: len(heard(client)) == 1)
    publish(pubsub, "kept", price("A", 2), price("B", 1), price("A", 3))

    # What waits is not told twice: it comes to everybody.
    early, answer = subscribe(pubsub, "kept", since=joined["position"])
    assert [message["message"] for message in answer["messages"]] == [price("A", 1)]
    await until(lambda: heard(early) == [price("B", 1), price("A", 3)])
    assert heard(client) == [price("A", 1), price("B", 1), price("A", 3)]

    _, answer = subscribe(pubsub, "kept", since=joined["position"])
    assert [message["message"] for message in answer["messages"]] == [price("B", 1), price("A", 3)]
    assert answer["position"] == early.messages[-1]["position"]


async def test_a_mark_does_not_overtake_what_waits(
    pubsub: PubSubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snorky.services.pubsub.marks.LOOK_SECONDS", 0.01)
    pubsub = PubSubService("pubsub", channels=CHANNELS, history_bytes=400)
    await pubsub.start()
    client, _ = subscribe(pubsub, "kept")
    publish(pubsub, "kept", *(price("A", number) for number in range(10)))
    await until(lambda: any(message["type"] == "mark" for message in client.messages))
    kinds = [message["type"] for message in client.messages]
    assert kinds[:3] == ["message", "message", "mark"]
    assert client.messages[1]["position"] == client.messages[2]["position"]
    await pubsub.stop()


async def test_nothing_goes_on_where_nobody_subscribes(pubsub: PubSubService) -> None:
    client, _ = subscribe(pubsub, "clock")
    publish(pubsub, "clock", 1, 2)
    pubsub.client_disconnected(client)
    again, _ = subscribe(pubsub, "clock")
    publish(pubsub, "clock", 3)
    assert heard(again) == [3]
    assert heard(client) == [1]


def test_a_rate_has_to_be_one() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Conflate(per_second=0)
