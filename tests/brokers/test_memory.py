"""The embedded broker: the contract, and what it does with time and memory."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky.brokers import Broker, FenceOld, PositionLost, Retention, memory
from snorky.brokers.log import KEYS_PER_SOURCE
from snorky.brokers.memory import SWEEP_EVERY, MemoryBroker
from snorky.envelope import Envelope
from snorky.testing.brokers import BrokerContract


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    async def joined(self) -> AsyncIterator[tuple[Broker, Broker]]:
        broker = MemoryBroker()
        await broker.start()
        yield broker, broker
        await broker.stop()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock) -> MemoryBroker:
    return MemoryBroker(clock)


def test_a_publication_is_delivered_before_publish_returns(broker: MemoryBroker) -> None:
    received: list[Any] = []
    broker.subscribe("news", received.append)
    envelope = Envelope("pubsub", 1)

    broker.publish("news", envelope)

    assert received == [envelope]
    assert received[0] is envelope


def test_nothing_is_kept_of_topics_without_subscribers(broker: MemoryBroker) -> None:
    for topic in ("news", "weather"):
        broker.subscribe(topic, print)
        broker.unsubscribe(topic, print)
        broker.publish(topic, Envelope("pubsub", 1))

    assert broker._subscriptions == {}


def test_claims_and_values_end_with_their_time(broker: MemoryBroker, clock: Clock) -> None:
    broker.claim("token", 60)
    broker.put("alice", 1, 30)
    clock.now += 29.9
    assert broker.get("alice") == 1
    assert not broker.claim("token", 60)

    clock.now += 0.2
    assert broker.get("alice") is None
    assert not broker.claim("token", 60)
    clock.now += 30
    assert broker.claim("token", 60)


def test_a_value_put_again_lives_from_then_on(broker: MemoryBroker, clock: Clock) -> None:
    broker.put("alice", 1, 30)
    clock.now += 20
    broker.put("alice", 2, 30)
    clock.now += 20

    assert broker.get("alice") == 2


def test_what_expired_is_thrown_away_without_being_asked_for(
    broker: MemoryBroker, clock: Clock
) -> None:
    for number in range(SWEEP_EVERY - 1):
        broker.put(f"old {number}", number, 30)
    clock.now += 31
    for number in range(SWEEP_EVERY):
        broker.put(f"new {number}", number, 30)

    assert len(broker._values) <= SWEEP_EVERY


def test_a_log_forgets_what_is_too_old(broker: MemoryBroker, clock: Clock) -> None:
    log = broker.log("orders", Retention(seconds=60))
    start = log.head
    first = log.append(1, key="a")
    clock.now += 40
    log.append(2)
    assert [entry.data for entry in log.read(start)] == [1, 2]

    clock.now += 40
    with pytest.raises(PositionLost):
        log.read(start)
    assert [entry.data for entry in log.read(first)] == [2]


def test_a_key_is_remembered_when_its_entry_is_too_old(broker: MemoryBroker, clock: Clock) -> None:
    log = broker.log("orders", Retention(seconds=60))
    first = log.append(1, key="a")
    clock.now += 61

    assert log.append(2, key="a") == first


@pytest.mark.parametrize("retention", [Retention(entries=3), Retention(bytes=1000)])
def test_a_log_that_nobody_reads_keeps_no_more_than_it_may(
    broker: MemoryBroker, retention: Retention
) -> None:
    log = broker.log("orders", retention)
    for number in range(100):
        log.append("x" * 300, key=str(number))

    assert len(log._kept) == 3


def test_no_more_keys_are_remembered_than_may_be(broker: MemoryBroker) -> None:
    log = broker.log("orders")
    for number in range(KEYS_PER_SOURCE + 100):
        log.append(1, key=str(number))

    source = log._sources[None]
    assert len(source.positions_by_key) == len(source._newest_keys) == KEYS_PER_SOURCE


def test_what_is_kept_beside_a_log_is_bounded(
    broker: MemoryBroker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MAX_KEPT_BESIDE", 3)
    log = broker.log("orders")
    for number in range(3):
        log.append(number, keep=60)
    with pytest.raises(OverflowError, match="3 entries are kept"):
        log.append(3, keep=60)
    assert log.head.seq == 3
    clock.now += 61
    log.append(3, keep=60)


def test_the_older_half_is_counted_in_seconds(broker: MemoryBroker, clock: Clock) -> None:
    log = broker.log("orders", Retention(seconds=60))
    log.append(1)
    clock.now += 20
    log.append(2)
    clock.now += 15
    assert log.halfway == 1
    clock.now += 16
    assert log.halfway == 2
    clock.now += 14
    assert log.halfway == 2  # the first has left
    log.append(3)
    assert log.halfway == 2


def test_a_log_that_rests_is_trimmed_when_told(broker: MemoryBroker, clock: Clock) -> None:
    log = broker.log("orders", Retention(seconds=60))
    last = log.append(1)
    clock.now += 61
    log.trim()

    assert (log.first, log.bytes_kept) == (last, 0)


def test_a_fence_of_a_former_life_is_refused() -> None:
    old = MemoryBroker().log("orders").take_lease("shop", 10)
    log = MemoryBroker().log("orders")
    with pytest.raises(FenceOld):
        log.append(1, "a", "shop", old.fence)
    log.take_lease("shop", 10)
    with pytest.raises(FenceOld):
        log.append(1, "a", "shop", old.fence)


def test_a_log_that_lost_everything_still_knows_its_head(
    broker: MemoryBroker, clock: Clock
) -> None:
    log = broker.log("orders", Retention(seconds=60))
    start = log.head
    last = log.append(1)
    clock.now += 61

    assert list(log.read(last)) == []
    with pytest.raises(PositionLost):
        log.read(start)
    assert log.append(2).seq == 2


def test_an_entry_too_large_for_its_log_is_delivered_and_not_kept(broker: MemoryBroker) -> None:
    log = broker.log("orders", Retention(bytes=10))
    start = log.head
    followed: list[Any] = []
    log.follow(followed.append)
    position = log.append("x" * 100)

    assert [entry.data for entry in followed] == ["x" * 100]
    assert log.head == position
    with pytest.raises(PositionLost):
        log.read(start)


def test_the_retention_counts_where_a_log_is_made(broker: MemoryBroker) -> None:
    log = broker.log("orders", Retention(entries=2))
    start = log.head
    for number in range(3):
        broker.log("orders", Retention(entries=100)).append(number)

    with pytest.raises(PositionLost):
        log.read(start)


def test_every_start_is_another_epoch() -> None:
    epochs = {MemoryBroker().log("orders").head.epoch for _ in range(20)}

    assert len(epochs) == 20
