"""Chat: what is forgotten, and how members of several processes and real pages hear each other."""

import asyncio
import json
from typing import Any

import pytest
import websockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.brokers.memory import MemoryBroker
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.chat import ChatService
from snorky.testing import FakeClient, async_call, call
from tests.patience import patient
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


def test_nothing_is_kept_of_channels_and_clients_that_have_gone() -> None:
    broker = MemoryBroker()
    chat = ChatService("chat", broker)
    before = metrics.subscriptions
    clients = [FakeClient(identity) for identity in ("alice", "bob", "bob")]
    for channel in range(10):
        join(chat, *clients, channel=channel)
    assert metrics.subscriptions == before + 30

    for channel in range(10):
        call(chat, clients[0], "leave", channel=channel)
    for client in clients:
        chat.client_disconnected(client)

    assert metrics.subscriptions == before
    assert not broker._subscriptions
    assert not chat._channels
    assert not chat._memberships


def test_who_leaves_is_forgotten_also_where_saying_so_fails(alice: FakeClient) -> None:
    class Stopped(ChatService):
        stopped = False

        def get_time(self) -> str:
            if self.stopped:
                raise RuntimeError("the clock has stopped")
            return NOON

    chat = Stopped("chat")
    for channel in ("tea", "coffee"):
        join(chat, alice, channel=channel)
    chat.stopped = True
    with pytest.raises(RuntimeError, match="clock"):
        chat.client_disconnected(alice)
    with pytest.raises(RuntimeError, match="clock"):
        call(chat, FakeClient("bob"), "join", channel="tea")

    assert not chat._channels
    assert not chat._memberships


def test_a_client_is_in_a_limited_number_of_channels(
    chat: ChatService, alice: FakeClient, bob: FakeClient
) -> None:
    chat.limits = Limits(max_subscriptions=2)
    for channel in ("one", "two"):
        join(chat, alice, channel=channel)

    assert refused(chat, alice, "join", channel="three") == "Too many channels"
    join(chat, bob, channel="three")
    call(chat, alice, "leave", channel="one")
    assert join(chat, alice, channel="three") == ["bob", "alice"]


def test_any_hashable_object_with_send_and_identity_may_chat(
    chat: ChatService, alice: FakeClient
) -> None:
    class Peer:
        identity = "peer"

        def __init__(self) -> None:
            self.received: list[Any] = []

        def send(self, msg: Any) -> None:
            self.received.append(msg)

    peer = Peer()
    join(chat, alice)
    call(chat, peer, "join", channel="tea")
    call(chat, alice, "send", channel="tea", body=1)
    chat.client_disconnected(peer)
    call(chat, alice, "send", channel="tea", body=2)

    assert peer.received == [{"service": "chat", "message": said("alice", 1)}]
    assert alice.messages == [
        presence("peer", "joined"),
        said("alice", 1),
        presence("peer", "left"),
        said("alice", 2),
    ]


def test_a_client_may_leave_while_a_notification_is_on_its_way(
    chat: ChatService, alice: FakeClient
) -> None:
    class Hasty(FakeClient):
        def send(self, msg: Any) -> None:
            super().send(msg)
            chat.client_disconnected(self)

    hasty = [Hasty("first"), Hasty("second")]
    for client in hasty:
        call(chat, client, "join", channel="tea")  # the second drives the first out
    assert join(chat, alice) == ["alice"]  # as it does the second
    call(chat, alice, "send", channel="tea", body=1)

    assert hasty[0].messages == [presence("second", "joined")]
    assert hasty[1].messages == [presence("alice", "joined")]
    assert alice.messages == [said("alice", 1)]
    call(chat, alice, "leave", channel="tea")
    assert not chat._channels


# Brokers


@pytest.mark.parametrize("command", ["join", "send", "leave"])
async def test_a_command_is_answered_when_the_broker_has_done_it(
    alice: FakeClient, command: str
) -> None:
    broker = LateBroker()
    chat = NoonChat("chat", broker)
    if command != "join":
        assert await async_call(chat, alice, "join", channel="tea") == {"members": ["alice"]}
    broker.done.clear()
    params = {"body": 1} if command == "send" else {}
    calling = asyncio.ensure_future(async_call(chat, alice, command, channel="tea", **params))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not calling.done()
    broker.done.set()

    assert await calling == ({"members": ["alice"]} if command == "join" else None)


def test_services_of_one_name_on_one_broker_are_one_chat(
    alice: FakeClient, bob: FakeClient
) -> None:
    """As in several processes that share a broker, where each counts its own members."""
    broker = MemoryBroker()
    here, there = NoonChat("chat", broker), NoonChat("chat", broker)
    other = NoonChat("other", broker)
    assert join(here, alice) == ["alice"]
    assert join(there, bob) == ["bob"]
    join(other, FakeClient("eve"))
    call(there, bob, "send", channel="tea", body=1)
    call(here, alice, "send", channel="tea", body=2)
    there.client_disconnected(bob)

    messages = [said("bob", 1), said("alice", 2)]
    assert bob.messages == messages
    assert alice.messages == [presence("bob", "joined"), *messages, presence("bob", "left")]


# Over the wire


@pytest.mark.usefixtures("each_fanout")
async def test_pages_hear_each_other_over_real_connections(listen: Any) -> None:
    registry = ServiceRegistry(
        [NoonChat("chat")], authenticate=lambda handshake: handshake.arguments["name"][0]
    )
    port = listen(Application([SnorkyWebSocketHandler.get_route(registry, "/ws")]))

    async def ask(socket: Any, command: str, **params: Any) -> None:
        call = {"command": command, "params": params, "callId": 0}
        await socket.send(json.dumps({"service": "chat", "message": call}))

    async def heard(socket: Any, count: int) -> list[Any]:
        async with asyncio.timeout(patient(20)):
            return [json.loads(await socket.recv())["message"] for _ in range(count)]

    def answer(data: Any) -> dict[str, Any]:
        return {"type": "response", "callId": 0, "data": data}

    url = f"ws://127.0.0.1:{port}/ws?name="
    async with websockets.connect(url + "alice") as one, websockets.connect(url + "bob") as two:
        await ask(one, "join", channel="tea")
        assert await heard(one, 1) == [answer({"members": ["alice"]})]
        await ask(two, "join", channel="tea")
        await ask(two, "send", channel="tea", body="Hi")
        assert await heard(two, 3) == [
            answer({"members": ["alice", "bob"]}),
            said("bob", "Hi"),
            answer(None),
        ]
        async with websockets.connect(url + "bob") as tablet:
            await ask(tablet, "join", channel="tea")
            assert await heard(tablet, 1) == [answer({"members": ["alice", "bob"]})]
            await ask(two, "read", channel="tea")
            assert await heard(tablet, 1) == [read_mark()]
        await two.close()
        assert await heard(one, 3) == [
            presence("bob", "joined"),
            said("bob", "Hi"),
            presence("bob", "left"),
        ]
