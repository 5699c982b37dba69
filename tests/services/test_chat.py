"""Chat: who is in a channel, what its members receive, and what is forgotten."""

from typing import Any

import pytest

from snorky.metrics import metrics
from snorky.services.chat import ChatService
from snorky.testing import FakeClient, call
from tests.services.chat_room import NoonChat, join, presence, read_mark, refused, said


@pytest.fixture
def chat() -> ChatService:
    return NoonChat("chat")


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


@pytest.fixture
def bob() -> FakeClient:
    return FakeClient("bob")


# Messages


@pytest.mark.parametrize("body", [None, 0, "größer", {"text": ["Hi", None]}])
def test_a_message_reaches_every_connection_of_every_member_its_senders_too(
    chat: ChatService, alice: FakeClient, bob: FakeClient, body: Any
) -> None:
    tablet, elsewhere, outside = FakeClient("bob"), FakeClient("eve"), FakeClient("eve")
    join(chat, alice, bob, tablet)
    join(chat, elsewhere, channel="coffee")
    assert call(chat, bob, "send", channel="tea", body=body) is None

    for client in (alice, bob, tablet):
        assert client.received == [{"service": "chat", "message": said("bob", body)}]
    assert elsewhere.received == outside.received == []


def test_the_senders_own_message_comes_before_its_response(
    chat: ChatService, alice: FakeClient
) -> None:
    join(chat, alice)
    params = {"channel": "tea", "body": "Hi"}
    chat.process_message_from(alice, {"command": "send", "params": params, "callId": 7})

    assert [envelope["message"] for envelope in alice.received] == [
        said("alice", "Hi"),
        {"type": "response", "callId": 7, "data": None},
    ]


def test_only_members_send(chat: ChatService, alice: FakeClient, bob: FakeClient) -> None:
    other_window = FakeClient("alice")
    join(chat, alice)
    for client in (bob, other_window):
        assert refused(chat, client, "send", channel="tea", body=1) == "Not joined"
    call(chat, alice, "leave", channel="tea")
    assert refused(chat, alice, "send", channel="tea", body=1) == "Not joined"
    assert alice.received == []


def test_messages_are_counted(chat: ChatService, alice: FakeClient) -> None:
    join(chat, alice)
    before = metrics.publications
    call(chat, alice, "send", channel="tea", body=1)

    assert metrics.publications == before + 1


# Members


def test_who_joins_is_told_who_is_there_each_once(chat: ChatService, bob: FakeClient) -> None:
    assert join(chat, bob) == ["bob"]
    assert join(chat, FakeClient("bob")) == ["bob"]
    assert sorted(join(chat, FakeClient("alice"))) == ["alice", "bob"]
    assert sorted(join(chat, FakeClient("bob"))) == ["alice", "bob"]
    assert join(chat, FakeClient("eve"), channel="coffee") == ["eve"]


def test_joining_twice_is_refused_and_changes_nothing(
    chat: ChatService, alice: FakeClient, bob: FakeClient
) -> None:
    join(chat, alice, bob)
    assert refused(chat, bob, "join", channel="tea") == "Already joined"
    call(chat, bob, "send", channel="tea", body=1)

    assert alice.messages == bob.messages == [said("bob", 1)]


def test_leaving_without_having_joined_is_refused(
    chat: ChatService, alice: FakeClient, bob: FakeClient
) -> None:
    join(chat, alice)
    for client in (bob, FakeClient("alice")):
        assert refused(chat, client, "leave", channel="tea") == "Not joined"
    assert alice.messages == []


def test_who_left_receives_nothing_more_and_may_come_back(
    chat: ChatService, alice: FakeClient, bob: FakeClient
) -> None:
    join(chat, alice, bob)
    assert call(chat, bob, "leave", channel="tea") is None
    call(chat, alice, "send", channel="tea", body=1)
    assert bob.messages == []
    assert join(chat, bob) == ["alice", "bob"]


# Presence


def test_the_first_connection_that_joins_and_the_last_that_leaves_are_announced(
    chat: ChatService, alice: FakeClient, bob: FakeClient
) -> None:
    tablet = FakeClient("bob")
    join(chat, alice)
    call(chat, bob, "join", channel="tea")
    assert alice.messages == [presence("bob", "joined")]
    call(chat, tablet, "join", channel="tea")
    call(chat, bob, "leave", channel="tea")
    assert alice.messages == [presence("bob", "joined")]
    call(chat, tablet, "leave", channel="tea")
    assert alice.messages == [presence("bob", "joined"), presence("bob", "left")]
    call(chat, tablet, "join", channel="tea")
    assert alice.messages[2:] == [presence("bob", "joined")]

    assert bob.messages == tablet.messages == []  # who joins or leaves is told nothing


def test_presence_is_of_one_channel(chat: ChatService, alice: FakeClient, bob: FakeClient) -> None:
    join(chat, alice, bob)
    join(chat, alice, FakeClient("eve"), channel="coffee")
    call(chat, bob, "join", channel="coffee")
    call(chat, bob, "leave", channel="tea")

    assert alice.messages == [presence("bob", "joined", "coffee"), presence("bob", "left")]


def test_a_disconnected_client_leaves_all_its_channels(
    chat: ChatService, alice: FakeClient, bob: FakeClient
) -> None:
    tablet = FakeClient("bob")
    join(chat, alice, bob, tablet)
    join(chat, alice, bob, channel="coffee")
    chat.client_disconnected(bob)
    assert alice.messages == [presence("bob", "left", "coffee")]
    assert tablet.messages == []
    call(chat, alice, "send", channel="coffee", body=1)
    assert bob.messages == []
    chat.client_disconnected(tablet)
    assert alice.messages[2:] == [presence("bob", "left")]
    chat.client_disconnected(tablet)  # one that is in no channel


def test_a_member_stays_who_it_was_when_it_joined(
    chat: ChatService, alice: FakeClient, bob: FakeClient
) -> None:
    join(chat, alice, bob)
    bob.identity = "robert"
    chat.client_disconnected(bob)

    assert alice.messages == [presence("bob", "left")]
    assert join(chat, alice, channel="other") == ["alice"]


# Read marks


def test_a_read_mark_reaches_the_other_connections_of_the_identity_in_the_channel(
    chat: ChatService, alice: FakeClient, bob: FakeClient
) -> None:
    tablet, phone, elsewhere = FakeClient("bob"), FakeClient("bob"), FakeClient("bob")
    join(chat, alice, bob, tablet, phone)
    join(chat, elsewhere, channel="coffee")
    assert call(chat, bob, "read", channel="tea") is None

    for client in (tablet, phone):
        assert client.received == [{"service": "chat", "message": read_mark()}]
    assert alice.messages == bob.messages == elsewhere.messages == []


def test_reading_needs_no_membership(chat: ChatService, alice: FakeClient, bob: FakeClient) -> None:
    assert call(chat, bob, "read", channel="nobody is there") is None
    join(chat, alice)
    assert call(chat, bob, "read", channel="tea") is None
    join(chat, FakeClient("bob"), bob)
    outside = FakeClient("bob")
    assert call(chat, outside, "read", channel="tea") is None

    assert bob.messages == [read_mark()]
    assert outside.messages == []
