"""What one client makes us keep or answer: channels, documents, names, cursors, pending calls."""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from snorky.limits import Limits
from snorky.services.base import RPCError, RPCService, rpc_command
from snorky.services.chat import ChatService
from snorky.services.cursors import CursorsService
from snorky.services.keys import key_of, value_of
from snorky.services.messaging import MessagingService
from snorky.services.pubsub import PubSubService
from snorky.testing import FakeClient, async_call, call
from snorky.wire import encode

CHANNELS: list[tuple[type[Any], str, str, str]] = [
    (PubSubService, "subscribe", "channel", "Channel too large"),
    (PubSubService, "unsubscribe", "channel", "Channel too large"),
    (PubSubService, "publish", "channel", "Channel too large"),
    (ChatService, "join", "channel", "Channel too large"),
    (ChatService, "send", "channel", "Channel too large"),
    (CursorsService, "join", "document", "Document too large"),
]


@pytest.mark.parametrize(("kind", "command", "parameter", "error"), CHANNELS)
@pytest.mark.parametrize(
    "value", ["x" * 4096, [{}] * 1400, [{}] * 4000, {"größer": "ö" * 2050}, [[1.0]] * 1100]
)
def test_channels_and_documents_have_a_size(
    kind: type[Any], command: str, parameter: str, error: str, value: Any
) -> None:
    more = {"publish": {"message": 1}, "send": {"body": 1}}.get(command, {})
    with pytest.raises(RPCError, match=f"^{error}$"):
        call(kind("service"), FakeClient("alice"), command, **{parameter: value}, **more)


@pytest.mark.parametrize("value", ["tea", "x" * 4000, [{}] * 1300, {"b": 1.0, "a": [2]}, None, 7])
def test_what_is_kept_of_a_channel_is_its_text_alone(value: Any) -> None:
    text = key_of(value, 4096, "too large")
    kept = value_of(text)

    assert json.loads(encode(kept)) == value
    if isinstance(value, list | dict):
        assert type(kept) is msgspec.Raw
        assert sys.getsizeof(bytes(kept)) < 2 * len(text) + 100


def test_a_channel_of_objects_comes_back_as_it_is() -> None:
    chat, alice, bob = ChatService("chat"), FakeClient("alice"), FakeClient("bob")
    channel = {"b": [1, {"c": None}], "a": "ö"}
    for client in (alice, bob):
        call(chat, client, "join", channel=channel)
    call(chat, bob, "send", channel=channel, body="hello")

    assert [message["channel"] for message in alice.messages] == 2 * [channel]


def test_a_document_of_objects_comes_back_as_it_is() -> None:
    cursors, alice, bob = CursorsService("cursors"), FakeClient("alice"), FakeClient("bob")
    document = {"plan": [1, 2]}
    call(cursors, alice, "join", document=document)
    call(
        cursors,
        alice,
        "createCursor",
        privateHandle=1,
        document=document,
        position=3,
        status="typing",
    )
    (cursor,) = call(cursors, bob, "join", document=document)["cursors"]
    call(cursors, alice, "removeCursor", privateHandle=1)

    assert (cursor["document"], cursor["position"]) == (document, 3)
    assert bob.messages[0]["cursor"]["document"] == document


# Answers


def test_so_many_names_are_not_listed_all_at_once() -> None:
    messaging = MessagingService("messaging")
    messaging.limits = Limits(max_listed_bytes=30)
    alice = FakeClient()
    for name in ("anna", "größer", "otto"):
        call(messaging, alice, "registerParticipant", name=name)
    assert call(messaging, alice, "listParticipants") == ["anna", "größer", "otto"]
    call(messaging, alice, "registerParticipant", name="ulla")
    with pytest.raises(RPCError, match=r"^Too many participants$"):
        call(messaging, alice, "listParticipants")
    call(messaging, alice, "unregisterParticipant", name="anna")

    assert call(messaging, alice, "listParticipants") == ["größer", "otto", "ulla"]
    messaging.client_disconnected(alice)
    assert call(messaging, FakeClient(), "listParticipants") == []


def test_a_list_is_made_once_for_all_who_ask() -> None:
    messaging = MessagingService("messaging")
    alice = FakeClient()
    call(messaging, alice, "registerParticipant", name="alice")
    request = object()
    listed: Any = messaging.listParticipants(request)  # type: ignore[arg-type]

    assert messaging.listParticipants(request) is listed  # type: ignore[arg-type]
    assert listed == ["alice"]  # for who overrides it


def test_a_service_may_list_less_than_everybody() -> None:
    class Teams(MessagingService):
        def listParticipants(self, req: Any) -> list[str]:
            return [name for name in super().listParticipants(req) if name.startswith("a")]

    teams = Teams("teams")
    for name in ("alice", "bob"):
        call(teams, FakeClient(), "registerParticipant", name=name)

    assert call(teams, FakeClient(), "listParticipants") == ["alice"]


def test_a_document_holds_no_more_cursors_than_can_be_told_at_once() -> None:
    cursors, alice = CursorsService("cursors"), FakeClient("alice")
    cursors.limits = Limits(max_listed_bytes=400)
    call(cursors, alice, "join", document=1)

    def create(handle: int, status: str = "") -> Any:
        params = {"privateHandle": handle, "document": 1, "position": 0, "status": status}
        return call(cursors, alice, "createCursor", **params)

    create(1)
    create(2)
    with pytest.raises(RPCError, match=r"^Too many cursors in the document$"):
        create(3, "x" * 200)
    with pytest.raises(RPCError, match=r"^Too many cursors in the document$"):
        call(cursors, alice, "updateCursor", privateHandle=1, newData={"status": "x" * 300})
    call(cursors, alice, "removeCursor", privateHandle=2)
    create(3, "x" * 100)

    joined = call(cursors, FakeClient("bob"), "join", document=1)["cursors"]
    assert [cursor["status"] for cursor in joined] == ["", "x" * 100]


def test_who_joins_is_told_of_the_last_change() -> None:
    cursors, alice = CursorsService("cursors"), FakeClient("alice")
    call(cursors, alice, "join", document=1)
    params = {"privateHandle": 1, "document": 1, "position": 0, "status": None}
    call(cursors, alice, "createCursor", **params)
    for position in (1, 2):
        call(cursors, alice, "updateCursor", privateHandle=1, newData={"position": position})
        (told,) = call(cursors, FakeClient(f"reader {position}"), "join", document=1)["cursors"]
        assert told["position"] == position
    cursors.client_disconnected(alice)

    assert call(cursors, FakeClient("bob"), "join", document=1) == {"cursors": []}


# Names


@pytest.mark.parametrize(
    "name", ["", " ", "\t\n", "\0", "\u200b\u200d", "\u2800", "\u3164", "\ufe0f", "\u00a0\u202e"]
)
def test_a_name_that_nobody_sees_is_refused(name: str) -> None:
    messaging = MessagingService("messaging")
    with pytest.raises(RPCError, match=r"^Name is empty or invisible$"):
        call(messaging, FakeClient(), "registerParticipant", name=name)

    assert call(messaging, FakeClient(), "listParticipants") == []


# Pending calls


class Kitchen(RPCService):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.done = asyncio.Event()

    @rpc_command
    async def cook(self, req: Any, dish: Any) -> int:
        await self.done.wait()
        return len(dish)


async def test_what_waits_of_one_client_has_a_size() -> None:
    kitchen, alice, bob = Kitchen("kitchen"), FakeClient(), FakeClient()
    kitchen.limits = Limits(max_pending_bytes=1000)
    first = asyncio.ensure_future(async_call(kitchen, alice, "cook", dish="x" * 2000))
    await asyncio.sleep(0)
    with pytest.raises(RPCError, match=r"^Too many pending calls$"):
        await async_call(kitchen, alice, "cook", dish="")
    other = asyncio.ensure_future(async_call(kitchen, bob, "cook", dish="x" * 900))
    await asyncio.sleep(0)
    kitchen.done.set()

    assert await asyncio.gather(first, other) == [2000, 900]
    assert await async_call(kitchen, alice, "cook", dish="soup") == 4
    assert not kitchen._pending_calls


async def test_params_that_are_no_json_have_no_size() -> None:
    """They are no client's, but those of a program that makes requests itself."""
    kitchen, answers = Kitchen("kitchen"), []
    kitchen.done.set()
    call = {"command": "cook", "params": {"dish": range(3)}, "client": FakeClient()}
    kitchen.process_request(SimpleNamespace(**call, resolved=False, reply=answers.append))
    await asyncio.gather(*kitchen.tasks)
    assert answers == [3]


# Why params are refused


def test_the_log_and_tests_are_told_why_params_do_not_fit(
    caplog: pytest.LogCaptureFixture, expect_log: Any
) -> None:
    class Sums(RPCService):
        @rpc_command
        def double(self, req: Any, number: int) -> int:
            return 2 * number

    caplog.set_level("INFO", "snorky")
    with pytest.raises(RPCError, match=r"^Invalid params$") as refused:
        call(Sums("sums"), FakeClient(), "double", number="two")

    assert str(refused.value.__cause__) == "number: Expected `int`, got `str`"
    expect_log('Invalid params in RPC service "sums": double({"number": "two"})')
    expect_log("Params of double: number: Expected `int`, got `str`")
