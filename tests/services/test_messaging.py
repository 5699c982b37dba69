"""Messaging: who owns a name, who receives what, and what is forgotten."""

import asyncio
import json
from typing import Any

import pytest
import websockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import RPCError
from snorky.services.messaging import MessagingService
from snorky.testing import FakeClient, async_call, call
from tests.patience import patient


@pytest.fixture
def messaging() -> MessagingService:
    return MessagingService("messaging")


@pytest.fixture
def alice(messaging: MessagingService) -> FakeClient:
    return registered(messaging, "alice")


@pytest.fixture
def bob(messaging: MessagingService) -> FakeClient:
    return registered(messaging, "bob")


def registered(messaging: MessagingService, *names: str) -> FakeClient:
    client = FakeClient()
    for name in names:
        assert call(messaging, client, "registerParticipant", name=name) is None
    return client


def participants(messaging: MessagingService) -> Any:
    return call(messaging, FakeClient(), "listParticipants")


def refused(messaging: MessagingService, client: Any, command: str, **params: Any) -> str:
    with pytest.raises(RPCError) as refusal:
        call(messaging, client, command, **params)
    return str(refusal.value)


def message(sender: str, dest: str, body: Any) -> dict[str, Any]:
    return {"type": "message", "sender": sender, "dest": dest, "body": body}


# Messages


@pytest.mark.parametrize("body", [None, 0, "größer", {"text": ["Hi", None]}])
def test_a_message_reaches_its_destination_and_nobody_else(
    messaging: MessagingService, alice: FakeClient, bob: FakeClient, body: Any
) -> None:
    carol = registered(messaging, "carol")
    assert call(messaging, alice, "send", sender="alice", dest="bob", body=body) is None

    assert bob.received == [{"service": "messaging", "message": message("alice", "bob", body)}]
    assert alice.received == carol.received == []


def test_one_may_write_to_oneself_and_reads_it_before_the_response(
    messaging: MessagingService, alice: FakeClient
) -> None:
    params = {"sender": "alice", "dest": "alice", "body": "note"}
    messaging.process_message_from(alice, {"command": "send", "params": params, "callId": 7})

    assert [envelope["message"] for envelope in alice.received] == [
        message("alice", "alice", "note"),
        {"type": "response", "callId": 7, "data": None},
    ]


def test_only_the_owner_of_a_name_sends_in_it(
    messaging: MessagingService, alice: FakeClient, bob: FakeClient
) -> None:
    for client, sender in ((bob, "alice"), (FakeClient(), "alice"), (bob, "nobody"), (bob, "")):
        error = refused(messaging, client, "send", sender=sender, dest="bob", body=1)
        assert error == "Invalid sender"
    assert alice.received == bob.received == []


def test_a_message_to_nobody_is_refused(messaging: MessagingService, alice: FakeClient) -> None:
    error = refused(messaging, alice, "send", sender="alice", dest="bob", body=1)
    assert error == "Unknown destination"


# Names


def test_participants_are_listed_by_name(messaging: MessagingService) -> None:
    assert participants(messaging) == []
    registered(messaging, "zoe", "Adam")
    registered(messaging, "mia")

    assert participants(messaging) == ["Adam", "mia", "zoe"]


def test_a_name_belongs_to_one_client(messaging: MessagingService, alice: FakeClient) -> None:
    for client in (alice, FakeClient()):
        error = refused(messaging, client, "registerParticipant", name="alice")
        assert error == "Name already registered"
    assert participants(messaging) == ["alice"]


def test_a_client_may_have_several_names(messaging: MessagingService, bob: FakeClient) -> None:
    both = registered(messaging, "sales", "support")
    for name in ("sales", "support"):
        call(messaging, bob, "send", sender="bob", dest=name, body=1)
        call(messaging, both, "send", sender=name, dest="bob", body=2)

    assert both.messages == [message("bob", "sales", 1), message("bob", "support", 1)]
    assert bob.messages == [message("sales", "bob", 2), message("support", "bob", 2)]


def test_who_gave_a_name_up_neither_sends_nor_receives_in_it(
    messaging: MessagingService, alice: FakeClient, bob: FakeClient
) -> None:
    call(messaging, alice, "registerParticipant", name="ally")
    assert call(messaging, alice, "unregisterParticipant", name="alice") is None

    assert participants(messaging) == ["ally", "bob"]
    error = refused(messaging, alice, "send", sender="alice", dest="bob", body=1)
    assert error == "Invalid sender"
    error = refused(messaging, bob, "send", sender="bob", dest="alice", body=1)
    assert error == "Unknown destination"
    call(messaging, bob, "send", sender="bob", dest="ally", body=1)
    call(messaging, bob, "registerParticipant", name="alice")


def test_only_its_owner_gives_a_name_up(
    messaging: MessagingService, alice: FakeClient, bob: FakeClient
) -> None:
    for client in (bob, FakeClient()):
        error = refused(messaging, client, "unregisterParticipant", name="alice")
        assert error == "Invalid participant"
        error = refused(messaging, client, "unregisterParticipant", name="nobody")
        assert error == "Unknown participant"
    assert participants(messaging) == ["alice", "bob"]


def test_the_application_says_who_may_have_a_name(alice: FakeClient) -> None:
    class Staff(MessagingService):
        def is_name_allowed(self, client: Any, name: str) -> bool:
            return bool(client.identity == name)

    staff = Staff("staff")
    boss = FakeClient("boss")
    call(staff, boss, "registerParticipant", name="boss")
    assert refused(staff, boss, "registerParticipant", name="chef") == "Name not allowed"
    # A name that is taken was allowed to somebody: that is not asked again.
    assert refused(staff, FakeClient(), "registerParticipant", name="boss") == (
        "Name already registered"
    )
    assert participants(staff) == ["boss"]


class Slow(MessagingService):
    """Looks names up in a database."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.decided = asyncio.Event()

    async def is_name_allowed(self, client: Any, name: str) -> bool:
        await self.decided.wait()
        return name != "root"


async def test_permission_may_take_its_time() -> None:
    slow = Slow("slow")
    slow.decided.set()
    await async_call(slow, FakeClient(), "registerParticipant", name="alice")
    with pytest.raises(RPCError, match=r"^Name not allowed$"):
        await async_call(slow, FakeClient(), "registerParticipant", name="root")

    assert participants(slow) == ["alice"]


async def test_of_two_that_wait_for_a_name_one_gets_it() -> None:
    slow = Slow("slow")
    clients = [FakeClient(), FakeClient()]
    both = [
        asyncio.ensure_future(async_call(slow, client, "registerParticipant", name="alice"))
        for client in clients
    ]
    await asyncio.sleep(0)
    slow.decided.set()

    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert first is None
    assert isinstance(second, RPCError)
    assert str(second) == "Name already registered"
    call(slow, clients[0], "unregisterParticipant", name="alice")


async def test_who_left_while_permission_was_awaited_gets_no_name() -> None:
    slow = Slow("slow")
    client = FakeClient()
    registering = asyncio.ensure_future(
        async_call(slow, client, "registerParticipant", name="alice")
    )
    await asyncio.sleep(0)
    client.close()
    slow.client_disconnected(client)
    slow.decided.set()
    await registering

    assert participants(slow) == []
    assert not slow._names_by_client


# What others can make us keep


def test_names_are_free_again_when_their_client_has_gone(
    messaging: MessagingService, bob: FakeClient
) -> None:
    alice = registered(messaging, "alice", "ally")
    messaging.client_disconnected(alice)

    assert participants(messaging) == ["bob"]
    error = refused(messaging, bob, "send", sender="bob", dest="alice", body=1)
    assert error == "Unknown destination"
    registered(messaging, "alice", "ally")
    messaging.client_disconnected(FakeClient())  # one that had no name


def test_nothing_is_kept_of_names_and_clients_that_have_gone(messaging: MessagingService) -> None:
    one, other = registered(messaging, "a", "b"), registered(messaging, "c", "d")
    for name in ("a", "b"):
        call(messaging, one, "unregisterParticipant", name=name)
    assert set(messaging._names_by_client) == {other}
    messaging.client_disconnected(one)
    messaging.client_disconnected(other)

    assert not messaging._clients_by_name
    assert not messaging._names_by_client


def test_a_client_has_a_limited_number_of_names(messaging: MessagingService) -> None:
    messaging.limits = Limits(max_names=2)
    client = registered(messaging, "a", "b")

    assert refused(messaging, client, "registerParticipant", name="c") == "Too many names"
    registered(messaging, "c")
    call(messaging, client, "unregisterParticipant", name="a")
    call(messaging, client, "registerParticipant", name="d")
    assert participants(messaging) == ["b", "c", "d"]


def test_a_name_has_a_limited_length(messaging: MessagingService) -> None:
    messaging.limits = Limits(max_name_length=3)
    registered(messaging, "äöü")

    assert refused(messaging, FakeClient(), "registerParticipant", name="äöüß") == "Name too long"
    assert participants(messaging) == ["äöü"]


@pytest.mark.parametrize("value", [None, True, 1, 1.5, [], ["alice"], {}, {"alice": 1}])
@pytest.mark.parametrize(
    ("command", "parameter", "others"),
    [
        ("registerParticipant", "name", {}),
        ("unregisterParticipant", "name", {}),
        ("send", "sender", {"dest": "alice", "body": 1}),
        ("send", "dest", {"sender": "alice", "body": 1}),
    ],
)
def test_a_name_is_a_string(
    messaging: MessagingService,
    alice: FakeClient,
    command: str,
    parameter: str,
    others: Any,
    value: Any,
    expect_log: Any,
) -> None:
    error = refused(messaging, alice, command, **others, **{parameter: value})
    assert error == "Invalid params"
    expect_log("Invalid params")
    assert participants(messaging) == ["alice"]


@pytest.mark.parametrize("name", ["half an emoji \ud83d", "\0.", "größer", "👩\u200d🚀"])
def test_any_string_is_a_name(messaging: MessagingService, alice: FakeClient, name: str) -> None:
    odd = registered(messaging, name)
    call(messaging, alice, "send", sender="alice", dest=name, body=1)

    assert odd.messages == [message("alice", name, 1)]
    assert name in participants(messaging)


def test_any_hashable_object_with_send_may_take_part(
    messaging: MessagingService, alice: FakeClient
) -> None:
    class Peer:
        def __init__(self) -> None:
            self.received: list[Any] = []

        def send(self, msg: Any) -> None:
            self.received.append(msg)

    peer = Peer()
    call(messaging, peer, "registerParticipant", name="peer")
    call(messaging, alice, "send", sender="alice", dest="peer", body=1)
    messaging.client_disconnected(peer)

    assert peer.received == [{"service": "messaging", "message": message("alice", "peer", 1)}]
    assert participants(messaging) == ["alice"]


# Over the wire


async def test_two_pages_write_to_each_other(listen: Any) -> None:
    messaging = MessagingService("messaging")
    registry = ServiceRegistry([messaging])
    port = listen(Application([SnorkyWebSocketHandler.get_route(registry, "/ws")]))

    async def ask(socket: Any, command: str, **params: Any) -> list[Any]:
        """What comes up to the answer."""
        call = {"command": command, "params": params, "callId": 0}
        await socket.send(json.dumps({"service": "messaging", "message": call}))
        came: list[Any] = []
        async with asyncio.timeout(patient(20)):
            while not came or came[-1]["type"] not in ("response", "error"):
                came.append(json.loads(await socket.recv())["message"])
        return came

    answered = [{"type": "response", "callId": 0, "data": None}]
    url = f"ws://127.0.0.1:{port}/ws"
    async with websockets.connect(url) as one, websockets.connect(url) as two:
        assert await ask(one, "registerParticipant", name="one") == answered
        assert await ask(two, "registerParticipant", name="two") == answered
        assert await ask(two, "send", sender="two", dest="one", body="Hi") == answered
        hi = message("two", "one", "Hi")
        note = message("one", "one", "note")
        assert await ask(one, "send", sender="one", dest="one", body="note") == [
            hi,
            note,
            *answered,
        ]
        await two.close()
        async with asyncio.timeout(patient(20)):
            while participants(messaging) != ["one"]:
                await asyncio.sleep(0.01)
