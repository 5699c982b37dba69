"""Channels with a past: who was away is told all that it missed, or that it cannot be told."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky import past
from snorky.brokers.memory import MemoryBroker
from snorky.services.base import RPCError
from snorky.services.pubsub import ChannelOptions, History, PubSubBackend, PubSubService
from snorky.testing import FakeClient, async_call, call
from tests.lines import until
from tests.one_engine import Connection, ConnectionLog

KEPT = {
    "news": ChannelOptions(history=History(entries=3, seconds=100)),
    "rooms/*": ChannelOptions(history=History(bytes=1000)),
}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pubsub(clock: Clock) -> PubSubService:
    return PubSubService("pubsub", MemoryBroker(clock), channels=KEPT)


def publish(pubsub: PubSubService, *messages: Any, channel: Any = "news") -> None:
    for message in messages:
        call(pubsub, FakeClient(), "publish", channel=channel, message=message)


def said(answer: Any) -> list[Any]:
    return [message["message"] for message in answer["messages"]]


def test_a_channel_without_a_past_is_answered_as_ever(pubsub: PubSubService) -> None:
    assert call(pubsub, FakeClient(), "subscribe", channel="weather") is None
    answer = call(pubsub, FakeClient(), "subscribe", channel="weather", since="x.1.y")
    assert answer == {"recovered": False, "reason": "no history"}


def test_messages_carry_the_position_that_brings_what_came_after(pubsub: PubSubService) -> None:
    client = FakeClient()
    joined = call(pubsub, client, "subscribe", channel="news")
    assert list(joined) == ["position"]
    publish(pubsub, "a", "b")
    first, second = client.messages
    assert first == {
        "type": "message",
        "channel": "news",
        "message": "a",
        "position": first["position"],
    }
    pubsub.client_disconnected(client)
    publish(pubsub, "c")

    for since, missed in (
        (joined["position"], ["a", "b", "c"]),
        (first["position"], ["b", "c"]),
        (second["position"], ["c"]),
        ("", ["a", "b", "c"]),
    ):
        answer = call(pubsub, FakeClient(), "subscribe", channel="news", since=since)
        assert answer["recovered"] is True
        assert said(answer) == missed
        assert answer["position"] == answer["messages"][-1]["position"]
        assert answer["messages"][-1]["type"] == "message"
    assert call(pubsub, client, "join", channel="news", since=answer["position"])["messages"] == []


def test_who_was_away_for_too_long_is_told_so(pubsub: PubSubService, clock: Clock) -> None:
    joined = call(pubsub, FakeClient(), "subscribe", channel="news")
    publish(pubsub, 1, 2, 3, 4)
    late = call(pubsub, FakeClient(), "subscribe", channel="news", since=joined["position"])
    assert (late["recovered"], late["reason"]) == (False, "trimmed")
    assert "messages" not in late
    assert said(call(pubsub, FakeClient(), "subscribe", channel="news", since="")) == [2, 3, 4]

    publish(pubsub, 5)
    clock.now += 301
    late = call(pubsub, FakeClient(), "subscribe", channel="news", since=late["position"])
    assert late["reason"] == "trimmed"
    assert said(call(pubsub, FakeClient(), "subscribe", channel="news", since="")) == []


def test_no_past_goes_because_a_clock_was_set(
    pubsub: PubSubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(pubsub, 1)
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert said(call(pubsub, FakeClient(), "subscribe", channel="news", since="")) == [1]


def test_what_has_gone_is_remembered_for_as_long_as_somebody_may_have_missed_it(
    clock: Clock,
) -> None:
    channels = {**KEPT, "brief": ChannelOptions(history=History(seconds=0))}
    pubsub = PubSubService("pubsub", MemoryBroker(clock), channels=channels, history_bytes=1000)
    client = FakeClient()
    call(pubsub, client, "subscribe", channel="brief")
    publish(pubsub, "a" * 400, "b", channel="brief")
    first = client.messages[0]["position"]
    for _ in range(2):
        answer = call(pubsub, FakeClient(), "subscribe", channel="brief", since=first)
        assert answer["reason"] == "trimmed"
        publish(pubsub, "x" * 700, channel="rooms/1")  # trims the first, but not the second


@pytest.mark.parametrize("since", ["rubbish", "a.b.c", "1.2", "x" * 200])
def test_what_is_no_position_is_named(pubsub: PubSubService, since: str) -> None:
    answer = call(pubsub, FakeClient(), "subscribe", channel="news", since=since)
    assert (answer["recovered"], answer["reason"]) == (False, "unknown position")


def test_a_position_of_another_life_is_not_taken_for_one_of_this(pubsub: PubSubService) -> None:
    for since in ("0123.0.", "0123.7.abcd"):
        answer = call(pubsub, FakeClient(), "subscribe", channel="news", since=since)
        assert (answer["recovered"], answer["reason"]) == (False, "epoch")


def test_a_message_larger_than_the_past_is_refused(pubsub: PubSubService) -> None:
    with pytest.raises(RPCError, match="Message too large"):
        publish(pubsub, "x" * 1000, channel="rooms/1")
    publish(pubsub, "x" * 900, "y" * 900, channel="rooms/1")
    kept = said(call(pubsub, FakeClient(), "subscribe", channel="rooms/1", since=""))
    assert kept == ["y" * 900]


def test_channels_of_a_pattern_have_a_past_each(pubsub: PubSubService) -> None:
    publish(pubsub, 1, channel="rooms/1")
    publish(pubsub, 2, channel="rooms/2")
    assert said(call(pubsub, FakeClient(), "subscribe", channel="rooms/1", since="")) == [1]


def test_trusted_servers_read_a_past(pubsub: PubSubService) -> None:
    backend = PubSubBackend("backend", pubsub)
    call(backend, FakeClient(), "publish", channel="news", message=1)
    kept = call(backend, FakeClient(), "history", channel="news")
    assert said(kept) == [1]
    call(backend, FakeClient(), "publish", channel="news", message=2)
    assert said(call(backend, FakeClient(), "history", channel="news", since=kept["position"])) == [
        2
    ]
    assert call(backend, FakeClient(), "history", channel="news", since="x")["recovered"] is False
    with pytest.raises(RPCError, match="No history"):
        call(backend, FakeClient(), "history", channel="weather")


def test_a_process_that_keeps_less_knows_less(clock: Clock) -> None:
    broker = MemoryBroker(clock)
    channels = {"other": ChannelOptions(history=History())}
    here = PubSubService("pubsub", broker, channels=KEPT, history_bytes=1000)
    there = PubSubService("pubsub", broker, channels=channels)
    publish(here, "x" * 400, "y" * 400, "z" * 400)
    publish(here, 1, channel=5)  # no text, and no pattern for it
    assert there._pasts is not None
    assert there._pasts._kept == {}
    assert said(call(here, FakeClient(), "subscribe", channel="news", since="")) == [
        "y" * 400,
        "z" * 400,
    ]


def test_all_channels_together_have_a_bound(clock: Clock) -> None:
    pubsub = PubSubService("pubsub", MemoryBroker(clock), channels=KEPT, history_bytes=3000)
    quiet = call(pubsub, FakeClient(), "subscribe", channel="news")
    publish(pubsub, "x")
    for number in range(100):
        publish(pubsub, "y" * 500, channel=f"rooms/{number}")
    assert pubsub._pasts is not None
    assert len(pubsub._pasts._kept) == len(pubsub._pasts._order) <= 6
    late = call(pubsub, FakeClient(), "subscribe", channel="news", since=quiet["position"])
    assert (late["recovered"], late["reason"]) == (False, "trimmed")
    clock.now += 1000
    call(pubsub, FakeClient(), "subscribe", channel="news", since="")
    assert len(pubsub._pasts._kept) == len(pubsub._pasts._order) == 0


async def test_a_channel_that_rests_is_told_where_the_past_is(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snorky.services.pubsub.marks.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("snorky.services.pubsub.marks.CLIENTS_PER_TURN", 1)
    pubsub = PubSubService("pubsub", MemoryBroker(clock), channels=KEPT, history_bytes=3000)
    await pubsub.start()
    clients = [FakeClient() for _ in range(3)]
    for client in clients:
        call(pubsub, client, "subscribe", channel="news")
        call(pubsub, client, "subscribe", channel="rooms/quiet")
    gone, plain = FakeClient(), FakeClient()
    call(pubsub, gone, "subscribe", channel="news")
    pubsub.client_disconnected(gone)
    call(pubsub, plain, "subscribe", channel="weather")
    publish(pubsub, *("y" * 500 for _ in range(5)), channel="rooms/busy")
    await until(lambda: all(client.messages for client in clients))
    for client in clients:
        (mark,) = client.messages
        assert mark["type"] == "mark"
    assert plain.messages == gone.messages == []
    for client in clients:
        pubsub.client_disconnected(client)
    publish(pubsub, "y" * 900, channel="rooms/busy")
    publish(pubsub, "at last")
    back = call(pubsub, FakeClient(), "subscribe", channel="news", since=mark["position"])
    assert said(back) == ["at last"]
    await pubsub.stop()


# Several processes


class Process:
    def __init__(self, engine: MemoryBroker) -> None:
        self.connection = Connection(engine)
        self.pubsub = PubSubService("pubsub", self.connection, channels=KEPT)

    async def subscribe(self, channel: Any = "news", **since: Any) -> tuple[FakeClient, Any]:
        client = FakeClient()
        return client, await async_call(self.pubsub, client, "subscribe", channel=channel, **since)

    async def publish(self, *messages: Any) -> None:
        for message in messages:
            await async_call(self.pubsub, FakeClient(), "publish", channel="news", message=message)


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    engine = MemoryBroker()
    both = [Process(engine), Process(engine)]
    for each in both:
        await each.pubsub.start()
    yield both
    for each in both:
        each.connection.cut = False
        await each.pubsub.stop()


async def test_who_comes_to_another_process_misses_nothing(processes: list[Process]) -> None:
    first, second = processes
    client, _joined = await first.subscribe()
    await first.publish("a")
    await until(lambda: len(client.messages) == 1)
    first.pubsub.client_disconnected(client)
    await first.publish("b")

    again, answer = await second.subscribe(since=client.messages[0]["position"])
    assert answer["recovered"] is True
    assert said(answer) == ["b"]
    await first.publish("c")
    await until(lambda: [m["message"] for m in again.messages] == ["c"])


def log_of(process: Process) -> ConnectionLog:
    (log,) = [process.pubsub._pasts.log] if process.pubsub._pasts else []
    assert isinstance(log, ConnectionLog)
    return log


async def test_a_process_that_is_behind_waits_for_what_the_client_has_seen(
    processes: list[Process],
) -> None:
    first, second = processes
    behind, _ = await second.subscribe()
    log_of(second).held = True
    client, _ = await first.subscribe()
    await first.publish("a", "b")
    await until(lambda: len(client.messages) == 2)

    again = FakeClient()
    params = {"channel": "news", "since": client.messages[0]["position"]}
    asked = {"command": "subscribe", "params": params, "callId": 1}
    second.pubsub.process_message_from(again, asked)
    await until(lambda: second.pubsub._pasts and second.pubsub._pasts._awaited)
    assert again.received == []
    log_of(second).held = False
    log_of(second).catch_up()
    await until(lambda: again.received)
    assert said(again.received[0]["message"]["data"]) == ["b"]
    assert [message["message"] for message in behind.messages] == ["a", "b"]


async def test_one_that_stays_behind_says_that_it_cannot_tell(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "CATCH_UP_SECONDS", 0.01)
    first, second = processes
    log_of(second).held = True
    client, _ = await first.subscribe()
    await first.publish("a")
    await until(lambda: client.messages)
    _, answer = await second.subscribe(since=client.messages[0]["position"])
    assert (answer["recovered"], answer["reason"]) == (False, "epoch")


async def test_a_process_that_comes_later_knows_the_past(processes: list[Process]) -> None:
    first, _ = processes
    _, joined = await first.subscribe()
    await first.publish("a", "b")
    third = Process(first.connection.engine)
    await third.pubsub.start()
    _, answer = await third.subscribe(since=joined["position"])
    assert said(answer) == ["a", "b"]
    await third.pubsub.stop()


async def test_what_is_too_old_at_the_start_is_not_kept(processes: list[Process]) -> None:
    first, _ = processes
    await first.publish("a" * 500, "b" * 500)
    late = PubSubService(
        "pubsub", Connection(first.connection.engine), channels=KEPT, history_bytes=600
    )
    await late.start()
    answer = await async_call(late, FakeClient(), "subscribe", channel="news", since="")
    assert said(answer) == ["b" * 500]
    await late.stop()


async def test_what_the_engine_does_not_take_is_refused(processes: list[Process]) -> None:
    first, second = processes
    await second.subscribe()
    first.connection.cut = True
    with pytest.raises(RPCError, match="The broker is not available"):
        await first.publish("a")
    first.connection.cut = False
    await first.publish("b")
    _, answer = await first.subscribe(since="")
    assert said(answer) == ["b"]


async def test_subscribers_are_told_where_the_past_begins_anew(processes: list[Process]) -> None:
    first, _ = processes
    client, _ = await first.subscribe()
    log_of(first).restart_there()
    (missed,) = client.messages
    assert missed == {
        "type": "missed",
        "channel": "news",
        "reason": "epoch",
        "position": str(log_of(first).head),
    }
