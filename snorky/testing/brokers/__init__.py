"""What every broker promises, as one suite for pytest: a new engine is a file and a green run.

A broker's own tests subclass ``BrokerContract`` and say how to make two brokers that are joined,
as two processes of one Snorky are; a broker of one process gives the same one twice. They run in
pytest-asyncio's mode "auto"; ``SNORKY_TEST_PATIENCE=5`` makes every deadline five times as long.
"""

from typing import Any

import pytest

from snorky.brokers import Broker
from snorky.envelope import Envelope
from snorky.testing.brokers.log import Inbox, LogContract, done
from snorky.testing.brokers.sources import SourceContract


class BrokerContract(LogContract, SourceContract):
    """Subclass it as ``TestMyBroker`` and override the fixture ``joined``."""

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
        assert await one.messages(1) == [1]
        await done(here.unsubscribe("news", one.deliver))
        await done(here.publish("news", Envelope("pubsub", 2)))

        assert await other.messages(2) == [1, 2]
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
