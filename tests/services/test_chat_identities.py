"""Chat: who may take part, and what counts as the same identity, channel and time."""

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from snorky.brokers import Broker
from snorky.brokers.memory import MemoryBroker
from snorky.services.base import RPCError
from snorky.services.chat import ChatService
from snorky.testing import FakeClient, async_call, call
from tests.services.chat_room import (
    NOON,
    NoonChat,
    join,
    presence,
    read_mark,
    refused,
    said,
)
from tests.services.late_broker import LateBroker


@pytest.fixture
def chat() -> ChatService:
    return NoonChat("chat")


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


@pytest.fixture
def bob() -> FakeClient:
    return FakeClient("bob")


def test_a_chat_is_for_those_who_said_who_they_are(chat: ChatService, alice: FakeClient) -> None:
    join(chat, alice)
    nobody = FakeClient()
    for command, params in (("join", {}), ("leave", {}), ("read", {}), ("send", {"body": 1})):
        error = refused(chat, nobody, command, channel="tea", **params)
        assert error == "Not authenticated"
    assert alice.messages == []


def test_the_application_may_check_identities_itself(alice: FakeClient) -> None:
    class Visitors(NoonChat):
        def check_identity(self, client: Any) -> None:
            if client.identity == "eve":
                raise RPCError("Not you")

    chat = Visitors("chat")
    assert join(chat, alice) == ["alice"]
    for command, params in (("join", {}), ("leave", {}), ("read", {}), ("send", {"body": 1})):
        assert refused(chat, FakeClient("eve"), command, channel="tea", **params) == "Not you"
    assert join(chat, FakeClient(None)) == ["alice", None]
    assert alice.messages == [presence(None, "joined")]


class Members(NoonChat):
    def can_join(self, client: Any, channel: Any) -> bool:
        return bool(client.identity == channel["for"])


class MembersLater(NoonChat):
    """The same, after a look into a database."""

    def __init__(self, name: str, broker: Broker | None = None) -> None:
        super().__init__(name, broker)
        self.decided = asyncio.Event()

    async def can_join(self, client: Any, channel: Any) -> bool:
        await self.decided.wait()
        return bool(client.identity == channel["for"])


def test_the_application_says_who_joins(alice: FakeClient, bob: FakeClient) -> None:
    chat = Members("chat")
    channel = {"for": "alice"}
    assert join(chat, alice, channel=channel) == ["alice"]
    assert refused(chat, bob, "join", channel=channel) == "Not authorized"
    assert refused(chat, FakeClient(), "join", channel={"for": None}) == "Not authenticated"
    assert alice.messages == []


@pytest.mark.parametrize("broker", [MemoryBroker, LateBroker])
async def test_it_may_take_its_time(alice: FakeClient, broker: type[MemoryBroker]) -> None:
    chat = MembersLater("chat", broker())
    chat.decided.set()
    reply = await async_call(chat, alice, "join", channel={"for": "alice"})
    assert reply == {"members": ["alice"]}
    with pytest.raises(RPCError, match=r"^Not authorized$"):
        await async_call(chat, FakeClient("bob"), "join", channel={"for": "alice"})


async def test_who_left_while_permission_was_awaited_is_no_member(alice: FakeClient) -> None:
    chat = MembersLater("chat")
    joining = asyncio.ensure_future(async_call(chat, alice, "join", channel={"for": "alice"}))
    await asyncio.sleep(0)
    alice.close()
    chat.client_disconnected(alice)
    chat.decided.set()

    assert await joining is None
    assert not chat._channels
    assert not chat._memberships


async def test_two_awaited_joins_to_one_channel_make_one(alice: FakeClient) -> None:
    chat = MembersLater("chat")
    both = [
        asyncio.ensure_future(async_call(chat, alice, "join", channel={"for": "alice"}))
        for _ in range(2)
    ]
    await asyncio.sleep(0)
    chat.decided.set()

    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert first == {"members": ["alice"]}
    assert isinstance(second, RPCError)
    assert str(second) == "Already joined"


@pytest.mark.parametrize(
    ("identity", "same", "other"),
    [
        ("alice", "alice", "Alice"),
        (1, 1.0, True),
        (("staff", 1), ["staff", 1], ["staff", "1"]),
        ({"id": 1, "name": "Alice"}, {"name": "Alice", "id": 1}, {"id": 1}),
    ],
)
def test_identities_are_json_values_hashable_or_not(
    chat: ChatService, bob: FakeClient, identity: Any, same: Any, other: Any
) -> None:
    join(chat, bob)
    one, two, another = FakeClient(identity), FakeClient(same), FakeClient(other)
    for client in (one, two, another):
        call(chat, client, "join", channel="tea")
    call(chat, one, "read", channel="tea")
    for client in (one, two, another):
        chat.client_disconnected(client)

    as_json = json.loads(json.dumps(identity))
    assert bob.messages == [
        presence(as_json, "joined"),
        presence(other, "joined"),
        presence(as_json, "left"),
        presence(other, "left"),
    ]
    assert two.messages == [presence(other, "joined"), read_mark()]


def test_an_identity_that_cannot_be_sent_is_the_applications_fault_and_joins_nothing(
    chat: ChatService, bob: FakeClient, expect_log: Any
) -> None:
    join(chat, bob)
    odd = FakeClient(object())
    params = {"channel": "tea"}
    chat.process_message_from(odd, {"command": "join", "params": params, "callId": 7})
    expect_log("Unhandled exception in RPC service")
    chat.client_disconnected(odd)

    assert odd.received[0]["message"]["message"] == "Internal error"
    assert bob.messages == []
    assert len(chat._memberships) == 1


@pytest.mark.parametrize(
    ("channel", "same", "others"),
    [
        ("tea", "tea", ["Tea", ["tea"], None]),
        (1, 1.0, ["1", True]),
        (None, None, ["null", False, 0, "", [], {}]),
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1.0}, [{"a": 1}]),
        ("half an emoji \ud83d", "half an emoji \ud83d", ["half an emoji"]),
    ],
)
def test_a_channel_is_any_json_value(
    chat: ChatService, alice: FakeClient, bob: FakeClient, channel: Any, same: Any, others: Any
) -> None:
    join(chat, alice, channel=channel)
    join(chat, bob, channel=same)
    for other in others:
        join(chat, bob, channel=other)
        call(chat, bob, "send", channel=other, body="not for us")
    bob.received.clear()
    call(chat, bob, "send", channel=same, body="for us")

    expected = [presence("bob", "joined", channel), said("bob", "for us", channel)]
    assert alice.messages == expected
    assert bob.messages == expected[1:]
    assert refused(chat, bob, "join", channel=channel) == "Already joined"
    call(chat, bob, "leave", channel=channel)


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("join", {}),
        ("join", {"channel": 1, "more": 2}),
        ("leave", {}),
        ("send", {"channel": "tea"}),
        ("send", {"body": 1}),
        ("read", {"channel": "tea", "timestamp": NOON}),
    ],
)
def test_a_call_names_what_the_command_takes(
    chat: ChatService, alice: FakeClient, command: str, params: Any, expect_log: Any
) -> None:
    assert refused(chat, alice, command, **params) == "Invalid params"
    expect_log("Invalid params")


# Time


@pytest.mark.parametrize(
    ("time", "timestamp"),
    [
        (datetime(2026, 1, 2, 12, tzinfo=UTC), NOON),
        (
            datetime(2026, 7, 2, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2))),
            "2026-07-02T12:00:00.000005+02:00",
        ),
        ("tea time", "tea time"),
    ],
)
def test_the_application_says_what_time_it_is(alice: FakeClient, time: Any, timestamp: str) -> None:
    class Clock(ChatService):
        def get_time(self) -> datetime | str:
            return time  # type: ignore[no-any-return]

    clock = Clock("chat")
    call(clock, alice, "join", channel="tea")
    call(clock, alice, "send", channel="tea", body=1)

    assert alice.messages[0]["timestamp"] == timestamp


@pytest.mark.parametrize("has_zone", [True, False])
def test_a_timestamp_has_a_zone(alice: FakeClient, has_zone: bool) -> None:
    class Local(ChatService):
        def get_time(self) -> datetime:
            return datetime.now()

    clock = ChatService("chat") if has_zone else Local("chat")
    before = datetime.now(UTC)
    call(clock, alice, "join", channel="tea")
    call(clock, alice, "send", channel="tea", body=1)

    sent = datetime.fromisoformat(alice.messages[0]["timestamp"])
    assert sent.utcoffset() is not None
    assert before <= sent <= datetime.now(UTC)
