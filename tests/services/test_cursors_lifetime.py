"""Cursors: what is bounded, what is forgotten, and how real pages see each other."""

import asyncio
import json
from typing import Any

import pytest
import websockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.cursors import CursorsService
from snorky.testing import FakeClient, call
from tests.patience import patient
from tests.services.cursor_calls import (
    create,
    cursor,
    join,
    refused,
    refused_cursor,
    removed,
)


@pytest.fixture
def cursors() -> CursorsService:
    return CursorsService("cursors")


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


@pytest.fixture
def bob() -> FakeClient:
    return FakeClient("bob")


def test_a_client_has_sixteen_cursors_at_most_in_all_documents(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    for document in ("plan", "other"):
        join(cursors, alice, bob, document=document)
    for number in range(16):
        create(cursors, alice, number, document="plan" if number % 2 else "other")
    assert refused_cursor(cursors, alice, 16) == "Too many cursors"
    assert refused_cursor(cursors, alice, 15) == "Reused handle"
    create(cursors, bob, 16)
    call(cursors, alice, "removeCursor", privateHandle=0)
    create(cursors, alice, 16)

    cursors.limits = Limits(max_cursors=17)
    create(cursors, alice, 17)
    assert refused_cursor(cursors, alice, 18) == "Too many cursors"


@pytest.mark.parametrize("where", ["handle", "position", "status", "document"])
def test_a_cursor_has_a_limited_size(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient, where: str
) -> None:
    document = "d" * 4000 if where == "document" else "plan"
    join(cursors, alice, bob, document=document)
    handle = "h" * 4096 if where == "handle" else 1
    place = {where: "x" * 4096} if where in ("position", "status") else {}

    assert refused_cursor(cursors, alice, handle, document=document, **place) == "Cursor too large"
    assert join(cursors, FakeClient("eve"), document=document) == []
    cursors.limits = Limits(max_cursor_bytes=8192)
    create(cursors, alice, handle, document=document, **place)
    assert len(bob.messages) == 1


def test_a_cursor_does_not_grow_later(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    join(cursors, alice)
    handle = create(cursors, alice, 1)
    join(cursors, bob)
    big = {"position": "x" * 4096}
    error = refused(cursors, alice, "updateCursor", privateHandle=1, newData=big)
    assert error == "Cursor too large"
    assert bob.messages == []
    assert join(cursors, FakeClient("eve")) == [cursor(handle, "alice")]


def test_a_client_is_in_a_limited_number_of_documents(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    cursors.limits = Limits(max_subscriptions=2)
    for document in ("one", "two"):
        join(cursors, alice, document=document)

    assert refused(cursors, alice, "join", document="three") == "Too many documents"
    join(cursors, bob, document="three")
    call(cursors, alice, "leave", document="one")
    join(cursors, alice, document="three")


def test_nothing_is_kept_of_documents_and_clients_that_have_gone(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    before = metrics.subscriptions
    for document in range(5):
        join(cursors, alice, bob, document=document)
        create(cursors, alice, document, document=document)
        create(cursors, bob, document, document=document)
    assert metrics.subscriptions == before + 10

    for document in range(5):
        call(cursors, bob, "leave", document=document)
    cursors.client_disconnected(alice)

    assert metrics.subscriptions == before
    assert not cursors._documents
    assert not cursors._sessions


# Clients of all kinds


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("join", {}),
        ("leave", {"document": 1, "more": 1}),
        ("createCursor", {"privateHandle": 1, "document": "plan", "position": 0}),
        *(
            ("updateCursor", {"privateHandle": 1, "newData": wrong})
            for wrong in (None, 1, "position", True, ["position"], [["position", 1]])
        ),
        ("removeCursor", {}),
    ],
)
def test_a_call_names_what_the_command_takes(
    cursors: CursorsService, alice: FakeClient, command: str, params: Any, expect_log: Any
) -> None:
    join(cursors, alice)
    create(cursors, alice, 1)
    assert refused(cursors, alice, command, **params) == "Invalid params"
    expect_log("Invalid params")


def test_any_hashable_object_with_send_and_identity_may_take_part(
    cursors: CursorsService, alice: FakeClient
) -> None:
    class Peer:
        identity = "peer"

        def __init__(self) -> None:
            self.received: list[Any] = []

        def send(self, msg: Any) -> None:
            self.received.append(msg)

    peer = Peer()
    join(cursors, alice, peer)
    handle = create(cursors, peer, 1)
    create(cursors, alice, 1)
    cursors.client_disconnected(peer)

    assert [envelope["message"]["type"] for envelope in peer.received] == ["cursorAdded"]
    assert alice.messages[1:] == [removed(handle)]


def test_a_client_may_leave_while_a_notification_is_on_its_way(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    class Hasty(FakeClient):
        def send(self, msg: Any) -> None:
            super().send(msg)
            cursors.client_disconnected(self)

    hasty = Hasty("hasty")
    join(cursors, alice, hasty)
    create(cursors, hasty, 1)
    handle = create(cursors, alice, 1)  # hasty leaves alice alone while she is shown to it
    assert [message["type"] for message in hasty.messages] == ["cursorAdded"]

    assert join(cursors, bob) == [cursor(handle, "alice")]
    create(cursors, bob, 1)
    types = [message["type"] for message in alice.messages]
    assert types == ["cursorAdded", "cursorAdded"]


@pytest.mark.usefixtures("each_fanout")
async def test_pages_see_each_others_cursors_over_real_connections(listen: Any) -> None:
    registry = ServiceRegistry(
        [CursorsService("cursors")], authenticate=lambda handshake: handshake.arguments["name"][0]
    )
    port = listen(Application([SnorkyWebSocketHandler.get_route(registry, "/ws")]))

    async def ask(socket: Any, command: str, **params: Any) -> None:
        call = {"command": command, "params": params, "callId": 0}
        await socket.send(json.dumps({"service": "cursors", "message": call}))

    async def came(socket: Any, count: int) -> list[Any]:
        async with asyncio.timeout(patient(20)):
            return [json.loads(await socket.recv())["message"] for _ in range(count)]

    def answer(data: Any) -> dict[str, Any]:
        return {"type": "response", "callId": 0, "data": data}

    url = f"ws://127.0.0.1:{port}/ws?name="
    async with websockets.connect(url + "alice") as one, websockets.connect(url + "bob") as two:
        await ask(one, "join", document="plan")
        assert await came(one, 1) == [answer({"cursors": []})]
        await ask(two, "join", document="plan")
        place = {"document": "plan", "position": 0, "status": None}
        await ask(two, "createCursor", privateHandle=1, **place)
        (_, created) = await came(two, 2)
        handle = created["data"]
        assert await came(one, 1) == [{"type": "cursorAdded", "cursor": cursor(handle, "bob")}]
        await ask(one, "createCursor", privateHandle=1, **place)
        assert await came(one, 1) == [answer(handle + 1)]
        assert await came(two, 1) == [
            {"type": "cursorAdded", "cursor": cursor(handle + 1, "alice")}
        ]
        # In a burst: each sees what the other does, once and in order, and not what it does itself.
        for position in range(100):
            for socket in (one, two):
                await ask(socket, "updateCursor", privateHandle=1, newData={"position": position})
        for socket, other in ((one, handle), (two, handle + 1)):
            seen = await came(socket, 200)
            moved = [message["cursor"] for message in seen if message != answer(None)]
            assert [each["position"] for each in moved] == list(range(100))
            assert {each["publicHandle"] for each in moved} == {other}
        await two.close()
        assert await came(one, 1) == [removed(handle)]
