"""Publish/subscribe: who receives what, who may, and what is forgotten."""

import asyncio
from typing import Any

import pytest

from snorky.brokers.memory import MemoryBroker
from snorky.envelope import Envelope
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.services.base import RPCError
from snorky.services.pubsub import PubSubBackend, PubSubService
from snorky.testing import FakeClient, async_call, call


class SafeString(str):
    """As Django's."""


@pytest.fixture
def pubsub() -> PubSubService:
    return PubSubService("pubsub")


@pytest.fixture
def backend(pubsub: PubSubService) -> PubSubBackend:
    return PubSubBackend("pubsub_backend", pubsub)


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


@pytest.fixture
def bob() -> FakeClient:
    return FakeClient("bob")


def notification(channel: Any, message: Any) -> dict[str, Any]:
    return {"type": "message", "channel": channel, "message": message}


# Subscribing and publishing


def test_a_publication_reaches_every_subscriber_of_its_channel_and_nobody_else(
    pubsub: PubSubService, alice: FakeClient, bob: FakeClient
) -> None:
    call(pubsub, alice, "subscribe", channel="news")
    call(pubsub, bob, "subscribe", channel="news")
    call(pubsub, bob, "subscribe", channel="weather")
    call(pubsub, FakeClient(), "publish", channel="news", message={"text": "größer"})

    expected = {"service": "pubsub", "message": notification("news", {"text": "größer"})}
    assert alice.received == [expected]
    assert bob.received == [expected]


def test_the_publisher_receives_its_publication_if_it_is_subscribed(
    pubsub: PubSubService, alice: FakeClient, bob: FakeClient
) -> None:
    call(pubsub, alice, "subscribe", channel="news")
    call(pubsub, alice, "publish", channel="news", message=1)
    call(pubsub, bob, "publish", channel="news", message=2)

    assert alice.messages == [notification("news", 1), notification("news", 2)]
    assert bob.messages == []


def test_the_publishers_own_notification_comes_before_its_response(
    pubsub: PubSubService, alice: FakeClient
) -> None:
    for number, (command, params) in enumerate(
        [("subscribe", {"channel": "news"}), ("publish", {"channel": "news", "message": 1})]
    ):
        pubsub.process_message_from(alice, {"command": command, "params": params, "callId": number})

    assert [envelope["message"] for envelope in alice.received] == [
        {"type": "response", "callId": 0, "data": None},
        notification("news", 1),
        {"type": "response", "callId": 1, "data": None},
    ]


def test_every_command_answers_null(pubsub: PubSubService, alice: FakeClient) -> None:
    assert call(pubsub, alice, "subscribe", channel="news") is None
    assert call(pubsub, alice, "publish", channel="news", message=1) is None
    assert call(pubsub, alice, "unsubscribe", channel="news") is None


def test_publishing_to_nobody_is_no_error(pubsub: PubSubService, alice: FakeClient) -> None:
    assert call(pubsub, alice, "publish", channel="nobody", message=1) is None


def test_who_unsubscribed_receives_nothing_more(
    pubsub: PubSubService, alice: FakeClient, bob: FakeClient
) -> None:
    for client in (alice, bob):
        call(pubsub, client, "subscribe", channel="news")
    call(pubsub, alice, "unsubscribe", channel="news")
    call(pubsub, bob, "publish", channel="news", message=1)

    assert alice.messages == []
    assert bob.messages == [notification("news", 1)]


def test_one_may_subscribe_again(pubsub: PubSubService, alice: FakeClient) -> None:
    for command in ("subscribe", "unsubscribe", "subscribe"):
        call(pubsub, alice, command, channel="news")
    call(pubsub, alice, "publish", channel="news", message=1)

    assert alice.messages == [notification("news", 1)]


def test_subscribing_twice_is_refused_and_changes_nothing(
    pubsub: PubSubService, alice: FakeClient
) -> None:
    call(pubsub, alice, "subscribe", channel="news")
    with pytest.raises(RPCError, match=r"^Already subscribed$"):
        call(pubsub, alice, "subscribe", channel="news")
    call(pubsub, alice, "publish", channel="news", message=1)

    assert alice.messages == [notification("news", 1)]


def test_unsubscribing_without_a_subscription_is_refused(
    pubsub: PubSubService, alice: FakeClient, bob: FakeClient
) -> None:
    call(pubsub, bob, "subscribe", channel="news")
    for _ in range(2):
        with pytest.raises(RPCError, match=r"^Not subscribed$"):
            call(pubsub, alice, "unsubscribe", channel="news")


def test_join_and_leave_are_other_names_for_the_same(
    pubsub: PubSubService, alice: FakeClient
) -> None:
    assert call(pubsub, alice, "join", channel="news") is None
    with pytest.raises(RPCError, match="Already subscribed"):
        call(pubsub, alice, "subscribe", channel="news")
    assert call(pubsub, alice, "leave", channel="news") is None
    with pytest.raises(RPCError, match="Not subscribed"):
        call(pubsub, alice, "leave", channel="news")


@pytest.mark.parametrize(
    ("channel", "same", "others"),
    [
        ("news", "news", ["News", " news", ["news"], None]),
        (SafeString("größer"), "größer", ["größe"]),
        (1, 1.0, ["1", True, [1]]),
        (True, True, [1, "true"]),
        (None, None, ["null", False, 0, ""]),
        ([1, ["a"]], (1.0, ("a",)), [[1, "a"], '[1,["a"]]']),
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1.0}, [{"a": 1}, {"a": 1, "b": ["2"]}]),
        ("", "", [None, [], {}]),
        ("half an emoji \ud83d", "half an emoji \ud83d", ["half an emoji \\ud83d"]),
    ],
)
def test_a_channel_is_any_json_value(
    pubsub: PubSubService, alice: FakeClient, channel: Any, same: Any, others: list[Any]
) -> None:
    call(pubsub, alice, "subscribe", channel=channel)
    for other in others:
        pubsub.do_publish(other, "not for us")
    pubsub.do_publish(same, "for us")

    assert [message["message"] for message in alice.messages] == ["for us"]
    with pytest.raises(RPCError, match="Already subscribed"):
        call(pubsub, alice, "subscribe", channel=same)
    call(pubsub, alice, "unsubscribe", channel=same)


@pytest.mark.parametrize("message", [None, 0, "größer", [1, None], {"type": "response"}])
def test_a_message_is_any_json_value(
    pubsub: PubSubService, alice: FakeClient, message: Any
) -> None:
    call(pubsub, alice, "subscribe", channel="news")
    pubsub.do_publish("news", message)

    assert [envelope["message"] for envelope in alice.received] == [notification("news", message)]


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("subscribe", {}),
        ("subscribe", {"channel": 1, "more": 2}),
        ("publish", {"channel": 1}),
        ("publish", {"message": 1}),
    ],
)
def test_a_call_names_channel_and_message(
    pubsub: PubSubService, alice: FakeClient, command: str, params: Any, expect_log: Any
) -> None:
    with pytest.raises(RPCError, match="Invalid params"):
        call(pubsub, alice, command, **params)
    expect_log("Invalid params")


def test_what_cannot_be_encoded_raises_where_it_is_published(
    pubsub: PubSubService, alice: FakeClient
) -> None:
    call(pubsub, alice, "subscribe", channel="news")

    with pytest.raises(TypeError):
        pubsub.do_publish("news", object())
    pubsub.do_publish("news", 1)
    assert alice.messages == [notification("news", 1)]


# Clients that leave, and clients of other kinds


def test_a_client_that_left_receives_nothing_more(
    pubsub: PubSubService, alice: FakeClient, bob: FakeClient
) -> None:
    for channel in ("news", "weather"):
        call(pubsub, alice, "subscribe", channel=channel)
    call(pubsub, bob, "subscribe", channel="news")
    pubsub.client_disconnected(alice)
    for channel in ("news", "weather"):
        call(pubsub, bob, "publish", channel=channel, message=1)

    assert alice.messages == []
    assert bob.messages == [notification("news", 1)]


def test_a_client_that_never_subscribed_may_leave(pubsub: PubSubService, alice: FakeClient) -> None:
    pubsub.client_disconnected(alice)
    call(pubsub, alice, "subscribe", channel="news")
    call(pubsub, alice, "unsubscribe", channel="news")
    pubsub.client_disconnected(alice)


def test_any_hashable_object_with_send_may_subscribe(pubsub: PubSubService) -> None:
    class Peer:
        def __init__(self) -> None:
            self.received: list[Any] = []

        def send(self, msg: Any) -> None:
            self.received.append(msg)

    peer = Peer()
    call(pubsub, peer, "subscribe", channel="news")
    pubsub.do_publish("news", 1)
    pubsub.client_disconnected(peer)
    pubsub.do_publish("news", 2)

    assert peer.received == [{"service": "pubsub", "message": notification("news", 1)}]


def test_a_client_may_leave_while_a_publication_is_on_its_way(
    pubsub: PubSubService, alice: FakeClient
) -> None:
    class Hasty(FakeClient):
        def send(self, msg: Any) -> None:
            super().send(msg)
            pubsub.client_disconnected(self)

    hasty = Hasty()
    for client in (hasty, alice):
        call(pubsub, client, "subscribe", channel="news")
    pubsub.do_publish("news", 1)
    pubsub.do_publish("news", 2)

    assert hasty.messages == [notification("news", 1)]
    assert alice.messages == [notification("news", 1), notification("news", 2)]


def test_nothing_is_kept_of_channels_and_clients_that_have_gone(
    alice: FakeClient, bob: FakeClient
) -> None:
    broker = MemoryBroker()
    pubsub = PubSubService("pubsub", broker)
    before = metrics.subscriptions
    for channel in range(10):
        call(pubsub, alice, "subscribe", channel=channel)
        call(pubsub, bob, "subscribe", channel=channel)
    assert metrics.subscriptions == before + 20

    for channel in range(10):
        call(pubsub, bob, "unsubscribe", channel=channel)
    pubsub.client_disconnected(alice)

    assert metrics.subscriptions == before
    assert not broker._subscriptions
    assert not pubsub._topics
    assert not pubsub._topics_by_client


def test_a_client_has_a_limited_number_of_subscriptions(
    pubsub: PubSubService, alice: FakeClient, bob: FakeClient
) -> None:
    pubsub.limits = Limits(max_subscriptions=2)
    for channel in ("one", "two"):
        call(pubsub, alice, "subscribe", channel=channel)

    with pytest.raises(RPCError, match=r"^Too many subscriptions$"):
        call(pubsub, alice, "subscribe", channel="three")
    call(pubsub, bob, "subscribe", channel="three")
    call(pubsub, alice, "unsubscribe", channel="one")
    call(pubsub, alice, "subscribe", channel="three")
    pubsub.do_publish("three", 1)

    assert alice.messages == bob.messages == [notification("three", 1)]


# A broker that takes its time


class SlowBroker(MemoryBroker):
    """Does everything at once, and is done when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.done = asyncio.Event()

    async def _done(self) -> None:
        await self.done.wait()

    def publish(self, topic: str, payload: Envelope) -> Any:
        super().publish(topic, payload)
        return self._done()

    def subscribe(self, topic: str, deliver: Any) -> Any:
        super().subscribe(topic, deliver)
        return self._done()

    def unsubscribe(self, topic: str, deliver: Any) -> Any:
        super().unsubscribe(topic, deliver)
        return self._done()


@pytest.mark.parametrize("permission", ["at once", "later"])
async def test_a_command_is_answered_when_the_broker_has_done_it(
    alice: FakeClient, permission: str
) -> None:
    class Later(PubSubService):
        async def can_subscribe(self, client: Any, channel: Any) -> bool:
            return True

        async def can_publish(self, client: Any, channel: Any) -> bool:
            return True

    broker = SlowBroker()
    pubsub = (PubSubService if permission == "at once" else Later)("pubsub", broker)
    for command, params in (("subscribe", {}), ("publish", {"message": 1}), ("unsubscribe", {})):
        broker.done.clear()
        calling = asyncio.ensure_future(
            async_call(pubsub, alice, command, channel="news", **params)
        )
        for _ in range(5):
            await asyncio.sleep(0)
        assert not calling.done()
        broker.done.set()
        assert await calling is None

    assert alice.messages == [notification("news", 1)]


# The back end, and several services


def test_the_backend_publishes_without_being_asked_for_permission(bob: FakeClient) -> None:
    class Forbidding(PubSubService):
        def can_publish(self, client: Any, channel: Any) -> bool:
            return False

    frontend = Forbidding("pubsub")
    backend = PubSubBackend("pubsub_backend", frontend)
    call(frontend, bob, "subscribe", channel=["news", 1])

    assert call(backend, FakeClient(), "publish", channel=["news", 1], message="hello") is None
    assert bob.received == [{"service": "pubsub", "message": notification(["news", 1], "hello")}]


def test_the_backend_knows_its_frontend(pubsub: PubSubService, backend: PubSubBackend) -> None:
    assert (backend.name, backend.frontend) == ("pubsub_backend", pubsub)
    assert set(backend.rpc_commands) == {"channels", "history", "members", "publish"}


def test_two_services_do_not_hear_each_other(alice: FakeClient) -> None:
    broker = MemoryBroker()
    one, other = PubSubService("one", broker), PubSubService("other", broker)
    call(one, alice, "subscribe", channel="news")
    other.do_publish("news", 1)

    assert alice.messages == []


def test_services_of_one_name_on_one_broker_are_one_service(
    alice: FakeClient, bob: FakeClient
) -> None:
    """As in several processes that share a broker."""
    broker = MemoryBroker()
    here, there = PubSubService("pubsub", broker), PubSubService("pubsub", broker)
    call(here, alice, "subscribe", channel="news")
    call(there, bob, "subscribe", channel="news")
    here.do_publish("news", 1)
    call(there, bob, "unsubscribe", channel="news")
    there.do_publish("news", 2)

    assert alice.messages == [notification("news", 1), notification("news", 2)]
    assert bob.messages == [notification("news", 1)]


def test_publications_are_counted(pubsub: PubSubService, backend: PubSubBackend) -> None:
    before = metrics.publications
    call(pubsub, FakeClient(), "publish", channel="news", message=1)
    call(backend, FakeClient(), "publish", channel="news", message=1)

    assert metrics.publications == before + 2
