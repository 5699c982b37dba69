"""What every broker promises, as one suite.

A broker's own tests subclass ``BrokerContract`` and say how to make two brokers that are joined,
as two processes of one Snorky are; a broker of one process gives the same one twice.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from snorky.brokers import Broker, Entry, Position, PositionLost, Retention
from snorky.wire import Envelope

DEADLINE = 5.0


async def done(result: Any) -> Any:
    """What a method of a broker returns: at once, or after a while."""
    return await result if inspect.isawaitable(result) else result


class Inbox:
    """Receives publications or entries; ``next`` waits for one."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[Any] = asyncio.Queue()

    def deliver(self, item: Any) -> None:
        self._received.put_nowait(item)

    async def next(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return await self._received.get()

    async def messages(self, count: int) -> list[Any]:
        return [(await self.next())["message"] for _ in range(count)]

    @property
    def is_empty(self) -> bool:
        return self._received.empty()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a broker of several processes makes true a little later."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


class BrokerContract:
    """Subclass it as ``TestMyBroker`` and override the fixture ``joined``."""

    @pytest.fixture
    def joined(self) -> tuple[Broker, Broker]:
        """Two brokers that were started; may be asynchronous, and stop them afterwards."""
        raise NotImplementedError

    @pytest.fixture
    def here(self, joined: tuple[Broker, Broker]) -> Broker:
        return joined[0]

    @pytest.fixture
    def there(self, joined: tuple[Broker, Broker]) -> Broker:
        return joined[1]

    # Publications

    async def test_a_publication_arrives_in_every_process_this_one_too(
        self, here: Broker, there: Broker
    ) -> None:
        first, second = Inbox(), Inbox()
        await done(here.subscribe("news", first.deliver))
        await done(there.subscribe("news", second.deliver))
        await done(here.publish("news", Envelope("pubsub", ["größer", None, 1.5])))

        for inbox in (first, second):
            envelope = await inbox.next()
            assert envelope == {"service": "pubsub", "message": ["größer", None, 1.5]}
            assert isinstance(envelope, Envelope)

    async def test_publications_of_one_process_arrive_in_order(
        self, here: Broker, there: Broker
    ) -> None:
        inbox = Inbox()
        await done(there.subscribe("news", inbox.deliver))
        work = [here.publish("news", Envelope("pubsub", number)) for number in range(200)]
        for result in work:
            await done(result)

        assert await inbox.messages(200) == list(range(200))

    async def test_a_publication_arrives_once_and_on_its_topic_alone(
        self, here: Broker, there: Broker
    ) -> None:
        inbox = Inbox()
        await done(there.subscribe("news", inbox.deliver))
        for topic, message in (("weather", 1), ("news", 2), ("News", 3), ("new", 4), ("news", 5)):
            await done(here.publish(topic, Envelope("pubsub", message)))

        assert await inbox.messages(2) == [2, 5]
        assert inbox.is_empty

    @pytest.mark.parametrize(
        "topic", ["größer/😀", "with space", "*", "a.>", "line\nbreak", "[news]?", "x" * 2000, '"']
    )
    async def test_a_topic_is_any_text_and_no_pattern(
        self, here: Broker, there: Broker, topic: str
    ) -> None:
        inbox = Inbox()
        await done(there.subscribe(topic, inbox.deliver))
        await done(here.publish("other", Envelope("pubsub", 1)))
        await done(here.publish("a.b", Envelope("pubsub", 2)))
        await done(here.publish(topic, Envelope("pubsub", 3)))

        assert await inbox.messages(1) == [3]

    async def test_several_may_subscribe_to_a_topic_in_one_process(self, here: Broker) -> None:
        one, other = Inbox(), Inbox()
        await done(here.subscribe("news", one.deliver))
        await done(here.subscribe("news", other.deliver))
        await done(here.publish("news", Envelope("pubsub", 1)))
        await done(here.unsubscribe("news", one.deliver))
        await done(here.publish("news", Envelope("pubsub", 2)))

        assert await other.messages(2) == [1, 2]
        assert await one.messages(1) == [1]
        assert one.is_empty

    async def test_who_unsubscribed_may_subscribe_again(self, here: Broker, there: Broker) -> None:
        inbox, witness = Inbox(), Inbox()
        await done(there.subscribe("news", witness.deliver))
        for message in range(3):
            await done(there.subscribe("news", inbox.deliver))
            await done(here.publish("news", Envelope("pubsub", message)))
            assert await inbox.messages(1) == [message]
            await done(there.unsubscribe("news", inbox.deliver))
            await done(here.publish("news", Envelope("pubsub", "nobody's")))

        assert await witness.messages(6) == [0, "nobody's", 1, "nobody's", 2, "nobody's"]
        assert inbox.is_empty

    async def test_unsubscribing_without_a_subscription_raises(self, here: Broker) -> None:
        inbox, other = Inbox(), Inbox()
        await done(here.subscribe("news", inbox.deliver))

        with pytest.raises(KeyError):
            await done(here.unsubscribe("news", other.deliver))
        with pytest.raises(KeyError):
            await done(here.unsubscribe("weather", inbox.deliver))

    async def test_a_publication_to_nobody_is_no_error(self, here: Broker) -> None:
        await done(here.publish("nobody", Envelope("pubsub", 1)))

    async def test_one_may_unsubscribe_and_subscribe_while_something_is_delivered(
        self, here: Broker
    ) -> None:
        inbox, late = Inbox(), Inbox()

        def deliver(envelope: Envelope) -> None:
            inbox.deliver(envelope)
            here.unsubscribe("news", deliver)
            here.subscribe("news", late.deliver)

        witness = Inbox()
        await done(here.subscribe("news", deliver))
        await done(here.subscribe("news", witness.deliver))
        await done(here.publish("news", Envelope("pubsub", 1)))
        assert await witness.messages(1) == [1]
        await done(here.publish("news", Envelope("pubsub", 2)))

        assert await inbox.messages(1) == [1]
        assert await late.messages(1) == [2]

    # Logs

    async def test_a_log_counts_its_entries_from_one(self, here: Broker) -> None:
        log = here.log("orders")
        start = log.head
        assert (start.seq, start.nonce) == (0, "")

        first = await done(log.append({"total": 1}))
        second = await done(log.append(["größer", None]))

        assert [position.seq for position in (first, second)] == [1, 2]
        assert {position.epoch for position in (start, first, second)} == {start.epoch}
        assert first.nonce != second.nonce
        await until(lambda: log.head == second)

    async def test_every_process_reads_the_same_entries(self, here: Broker, there: Broker) -> None:
        start = there.log("orders").head
        positions = [await done(here.log("orders").append(number)) for number in range(5)]
        await until(lambda: there.log("orders").head == positions[-1])

        for log in (here.log("orders"), there.log("orders")):
            assert list(log.read(start)) == [
                Entry(position, number) for number, position in enumerate(positions)
            ]
            assert list(log.read(positions[2])) == [Entry(positions[3], 3), Entry(positions[4], 4)]
            assert list(log.read(start, limit=2)) == [
                Entry(positions[0], 0),
                Entry(positions[1], 1),
            ]
            assert list(log.read(positions[4])) == []

    async def test_logs_of_different_names_are_different_logs(self, here: Broker) -> None:
        orders, visits = here.log("orders"), here.log("visits")
        start = visits.head
        await done(orders.append(1))

        assert list(visits.read(start)) == []
        assert here.log("orders") is orders

    async def test_whoever_follows_a_log_sees_every_entry_once_and_in_order(
        self, here: Broker, there: Broker
    ) -> None:
        inbox = Inbox()
        await done(here.log("orders").append("before"))
        await until(lambda: there.log("orders").head.seq == 1)
        there.log("orders").follow(inbox.deliver)
        work = [here.log("orders").append(number) for number in range(100)]
        positions = [await done(result) for result in work]

        entries = [await inbox.next() for _ in range(100)]
        assert entries == [Entry(position, n) for n, position in enumerate(positions)]
        assert [entry.position.seq for entry in entries] == list(range(2, 102))

    async def test_what_one_follows_can_be_read_at_once(self, here: Broker) -> None:
        """Who catches up reads to the head and follows from there, without a gap."""
        log = here.log("orders")
        start = log.head
        seen: asyncio.Queue[list[int]] = asyncio.Queue()

        def deliver(entry: Entry) -> None:
            assert log.head == entry.position
            seen.put_nowait([kept.data for kept in log.read(start)])

        log.follow(deliver)
        for number in range(3):
            await done(log.append(number))

        async with asyncio.timeout(DEADLINE):
            assert [await seen.get() for _ in range(3)] == [[0], [0, 1], [0, 1, 2]]

    async def test_following_ends(self, here: Broker) -> None:
        log = here.log("orders")
        inbox, witness = Inbox(), Inbox()
        end = log.follow(inbox.deliver)
        log.follow(witness.deliver)
        await done(log.append(1))
        assert (await inbox.next()).data == 1
        end()
        await done(log.append(2))

        assert [(await witness.next()).data for _ in range(2)] == [1, 2]
        assert inbox.is_empty

    async def test_the_same_key_again_appends_nothing(self, here: Broker, there: Broker) -> None:
        inbox = Inbox()
        here.log("orders").follow(inbox.deliver)
        first = await done(here.log("orders").append(1, key="a"))
        again = await done(there.log("orders").append(2, key="a"))
        other = await done(there.log("orders").append(3, key="b"))

        assert again == first
        assert [(await inbox.next()).data for _ in range(2)] == [1, 3]
        await until(lambda: here.log("orders").head == other)
        assert other.seq == 2

    async def test_the_oldest_entries_go_first(self, here: Broker) -> None:
        log = here.log("orders", Retention(entries=3))
        start = log.head
        positions = [await done(log.append(number, key=str(number))) for number in range(5)]
        await until(lambda: log.head == positions[-1])

        assert [entry.data for entry in log.read(positions[1])] == [2, 3, 4]
        for lost in (start, positions[0]):
            with pytest.raises(PositionLost):
                log.read(lost)
        repeated = await done(log.append(5, key="0"))
        assert repeated.seq == 6

    async def test_a_log_is_bounded_in_bytes(self, here: Broker) -> None:
        log = here.log("orders", Retention(bytes=1000))
        positions = [await done(log.append(f"{number}" + "x" * 300)) for number in range(5)]
        await until(lambda: log.head == positions[-1])

        with pytest.raises(PositionLost):
            log.read(positions[0])
        assert [entry.data[0] for entry in log.read(positions[3])] == ["4"]

    async def test_a_position_of_another_life_of_the_log_is_lost(self, here: Broker) -> None:
        log = here.log("orders")
        first = await done(log.append(1))
        second = await done(log.append(2))
        await until(lambda: log.head == second)

        for wrong in (
            Position("another epoch", 0, ""),
            first._replace(epoch="another epoch"),
            first._replace(nonce="another"),
            second._replace(nonce="another"),
            second._replace(seq=3),
        ):
            with pytest.raises(PositionLost):
                log.read(wrong)

    async def test_what_cannot_be_encoded_is_not_appended(self, here: Broker) -> None:
        log = here.log("orders")
        head = log.head

        with pytest.raises((TypeError, ValueError)):
            await done(log.append(object(), key="a"))
        assert log.head == head
        assert (await done(log.append(1, key="a"))).seq == 1

    # What processes share

    async def test_a_key_is_claimed_by_the_one_who_is_first(
        self, here: Broker, there: Broker
    ) -> None:
        assert await done(here.claim("token", 60)) is True
        assert await done(there.claim("token", 60)) is False
        assert await done(here.claim("token", 60)) is False
        assert await done(there.claim("another", 60)) is True

    async def test_a_deleted_claim_may_be_made_again(self, here: Broker, there: Broker) -> None:
        await done(here.claim("token", 60))
        await done(there.delete("token"))

        assert await done(there.claim("token", 60)) is True

    @pytest.mark.parametrize(
        "value", [1, "größer", [1, {"a": None}], {"a": [True, 1.5]}, False, 0, ""]
    )
    async def test_a_value_is_kept_for_every_process(
        self, here: Broker, there: Broker, value: Any
    ) -> None:
        await done(here.put("alice", value, 60))

        kept = await done(there.get("alice"))
        assert kept == value
        assert type(kept) is type(value)

    async def test_a_value_is_replaced_and_forgotten(self, here: Broker, there: Broker) -> None:
        assert await done(here.get("alice")) is None
        await done(here.put("alice", 1, 60))
        await done(there.put("alice", 2, 60))
        assert await done(here.get("alice")) == 2

        await done(here.delete("alice"))
        assert await done(there.get("alice")) is None
        await done(here.delete("alice"))

    # Its own life

    async def test_a_broker_that_works_says_so(self, here: Broker, there: Broker) -> None:
        await here.check()
        await there.check()
