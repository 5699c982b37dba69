"""What the page about the services says is what they do: every error on it, and no other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import websockets

from docs.examples.protocol.client import CallError, Connection, connect
from snorky.limits import Limits
from snorky.services.chat import ChatService
from snorky.services.cursors import CursorsService
from snorky.services.datasync import BroadcastDealer
from snorky.services.events import EventsBackend, EventsService
from snorky.services.messaging import MessagingService
from snorky.testing import FakeClient, call
from tests.docs.conftest import OpenLive
from tests.docs.protocol_site import Live
from tests.docs.reference_tables import REFERENCE
from tests.docs.test_reference import chapters, rows
from tests.identity.tokens import token
from tests.request_handlers.websocket_site import received


def connect_as(name: str, live: Live) -> Any:
    return connect(live.url, token=lambda: token(name))


async def elicited(call: Any) -> str:
    with pytest.raises(CallError) as refused:
        await call
    return str(refused.value)


def errors_on_the_page(service: str, command: str) -> set[str]:
    """``Missing field 'type'` (`model`)`` stands for one with each name."""
    for cells in rows(chapters(REFERENCE / "services.md")[service]):
        if cells[0].startswith(f"`{command}("):
            found: set[str] = set()
            for text, more in re.findall(r"`([^`]+)`((?: \([^)]*\))?)", cells[2]):
                found.add(text)
                for name in re.findall(r"`([^`]+)`", more):
                    if "'" in text:
                        found.add(re.sub(r"'\w+'", f"'{name}'", text))
                    else:
                        found.add(re.sub(r"^\w+", name, text))
            return found
    raise AssertionError(f"{command} of {service} is not on the page")


async def test_errors_of_pubsub(open_live: OpenLive) -> None:
    live = open_live(limits=Limits(max_subscriptions=2))

    async def refusals(connection: Connection, first: str, last: str) -> tuple[set[str], str]:
        call = connection.call
        await call("pubsub", first, channel=["a", 1])
        await call("pubsub", first, channel="b")
        errors = {
            await elicited(call("pubsub", first, channel=["a", 1.0])),
            await elicited(call("pubsub", first, channel="c")),
            await elicited(call("pubsub", first, channel="secret")),
        }
        return errors, await elicited(call("pubsub", last, channel="c"))

    for first, last in (("subscribe", "unsubscribe"), ("join", "leave")):
        async with connect(live.url) as connection:
            errors, error = await refusals(connection, first, last)
            assert errors == errors_on_the_page("PubSub", "subscribe")
            assert {error} == errors_on_the_page("PubSub", "unsubscribe")
            refused = connection.call("pubsub", "publish", channel="secret", message=1)
            large = connection.call("pubsub", "publish", channel="tiny", message="x" * 100)
            errors = {await elicited(refused), await elicited(large)}
            assert errors == errors_on_the_page("PubSub", "publish")
            errors = {
                await elicited(connection.call("pubsub", "presence", channel=channel))
                for channel in ("b", "tiny")
            }
            assert errors == errors_on_the_page("PubSub", "presence")


async def test_errors_of_datasync(open_live: OpenLive) -> None:
    live = open_live(limits=Limits(max_subscriptions=1, max_unacquired_tokens=2))
    items = [{"dealer": "AllTasks", "query": None}]
    issued = [
        await live.back_end("datasync_backend", "authorizeSubscription", items=items)
        for _ in range(2)
    ]
    async with connect(live.url) as connection, connect(live.url) as other:
        await connection.call("datasync", "acquireSubscription", token=issued[0])

        async def refusals(command: str, *given: Any, by: Connection = connection) -> set[str]:
            return {await elicited(by.call("datasync", command, token=t)) for t in given}

        errors = await refusals("acquireSubscription", issued[0], issued[1], 7)
        assert errors == errors_on_the_page("DataSync", "acquireSubscription")
        errors = await refusals("cancelSubscription", "unknown", None)
        assert errors == errors_on_the_page("DataSync", "cancelSubscription")
        foreign = await refusals("cancelSubscription", issued[0], by=other)
        assert foreign == {"No such subscription"}
        await connection.call("datasync", "cancelSubscription", token=issued[0])
        again = await refusals("acquireSubscription", issued[0])
        assert again == {"No such subscription"}


class Hearing(BroadcastDealer):
    """Is told of each item that is authorised."""

    model = "Task"

    def add_subscription_item(self, item: Any) -> None:
        super().add_subscription_item(item)


async def test_errors_of_the_datasync_back_end(open_live: OpenLive) -> None:
    live = open_live(limits=Limits(max_subscription_items=1, max_unacquired_tokens=1))
    item = {"dealer": "AllTasks", "query": None}

    live.datasync.register_dealer(Hearing)
    hearing = {"dealer": "Hearing", "query": None}

    async def authorize(*items: Any, **more: Any) -> Any:
        return await live.back_end("datasync_backend", "authorizeSubscription", items=items, **more)

    wrong = [{"query": 1}, {"dealer": "AllTasks"}, {**item, "dealer": 7}, {**item, "dealer": "x"}]
    errors = {await elicited(authorize(one)) for one in wrong}
    errors.add(await elicited(authorize(item, item)))
    errors.add(await elicited(authorize(item, after="now")))
    await authorize(hearing)
    errors.add(await elicited(authorize(hearing)))
    both = [item, {"dealer": "refetch", "query": {"models": ["Task"]}}]
    roomy = open_live()
    refused = roomy.back_end("datasync_backend", "authorizeSubscription", items=both)
    errors.add(await elicited(refused))
    assert errors == errors_on_the_page("DataSyncBackend", "authorizeSubscription")

    insert: dict[str, Any] = {"type": "insert", "model": "Task", "data": {}}
    update: dict[str, Any] = {"type": "update", "model": "Task", "newData": {}, "oldData": {}}
    faulty: list[Any] = [{**insert, "model": 7}, {**insert, "type": "upsert"}]
    for delta in (insert, update):
        for name in delta:
            faulty.append({key: value for key, value in delta.items() if key != name})
            if name in ("data", "newData", "oldData"):
                faulty.append({**delta, name: []})
    for command in ("publishDeltas", "publish"):
        errors = {
            await elicited(live.back_end("datasync_backend", command, deltas=[insert, delta]))
            for delta in faulty
        }
        large = {**insert, "data": {"text": "x" * 1024 * 1024}}
        for params in ({"deltas": [large]}, {"deltas": [insert], "key": 7}):
            errors.add(await elicited(live.back_end("datasync_backend", command, **params)))
        assert errors == errors_on_the_page("DataSyncBackend", "publishDeltas")


async def test_errors_of_identity(live: Live) -> None:
    async with connect_as("alice", live) as alice:
        given = ["no token", token("alice", lasts=-60), token("bob")]
        errors = {await elicited(alice.call("identity", "refresh", token=t)) for t in given}
        assert errors == errors_on_the_page("Identity", "refresh")
        answer = await alice.call("identity", "refresh", token=token("alice", lasts=900))
        assert 800 < answer["expiresIn"] <= 900


async def test_errors_of_events(open_live: OpenLive) -> None:
    live = open_live(limits=Limits(max_subscriptions=1))
    events = EventsService("events")
    live.frontend.register_service(events)
    backend = EventsBackend("events_backend", events)
    live.backend.register_service(backend)

    def ask(command: str, **params: Any) -> Any:
        return live.back_end("events_backend", command, **params)

    async with connect(live.url) as page:
        page_id = await page.call("events", "getId")
        errors = {
            await elicited(ask("connect", clientId="nobody", path="/jobs")),
            await elicited(ask("connect", clientId=page_id, path=["/jobs/1", "/jobs/2"])),
        }
        assert errors == errors_on_the_page("EventsBackend", "connect")
        errors = {await elicited(ask("disconnect", clientId="nobody", path="/jobs"))}
        assert errors == errors_on_the_page("EventsBackend", "disconnect")
        taps = [call(backend, FakeClient(), "watch", paths=["/jobs"]) for _ in range(100)]
        errors = {await elicited(ask("watch", tap="unknown")), await elicited(ask("watch"))}
        for tap in taps:
            call(backend, FakeClient(), "unwatch", tap=tap["tap"])
        assert errors == errors_on_the_page("EventsBackend", "watch")
        wrong_path = "A path must not be empty"
        assert await elicited(ask("update", path="")) == wrong_path
        assert await elicited(page.call("events", "leave", path="")) == wrong_path


class Rooms(ChatService):
    def can_join(self, client: Any, channel: Any) -> bool:
        return bool(channel != "secret")


class Documents(CursorsService):
    def can_join(self, client: Any, document: Any) -> bool:
        return bool(document != "secret")


class Names(MessagingService):
    def is_name_allowed(self, client: Any, name: str) -> bool:
        return name != "admin"


async def test_errors_of_messaging(open_live: OpenLive) -> None:
    live = open_live(limits=Limits(max_names=2, max_name_length=5))
    live.frontend.register_service(Names("messaging"))
    async with connect(live.url) as alice, connect(live.url) as bob:

        def ask(command: str, **params: Any) -> Any:
            return alice.call("messaging", command, **params)

        await bob.call("messaging", "registerParticipant", name="bob")
        await ask("registerParticipant", name="alice")
        await ask("registerParticipant", name="ally")
        wanted = ["bob", "admin", "longer", "third"]
        errors = {await elicited(ask("registerParticipant", name=name)) for name in wanted}
        assert errors == errors_on_the_page("Messaging", "registerParticipant")
        errors = {await elicited(ask("unregisterParticipant", name=name)) for name in ("x", "bob")}
        assert errors == errors_on_the_page("Messaging", "unregisterParticipant")
        errors = {
            await elicited(ask("send", sender="bob", dest="alice", body=1)),
            await elicited(ask("send", sender="alice", dest="carol", body=1)),
        }
        assert errors == errors_on_the_page("Messaging", "send")


async def test_errors_of_chat(open_live: OpenLive) -> None:
    live = open_live(limits=Limits(max_subscriptions=1))
    live.frontend.register_service(Rooms("chat"))
    async with connect_as("alice", live) as alice, connect(live.url) as nobody:

        async def refusals(command: str, *channels: str, **params: Any) -> set[str]:
            calls = [alice.call("chat", command, channel=c, **params) for c in channels]
            calls.append(nobody.call("chat", command, channel="tea", **params))
            return {await elicited(call) for call in calls}

        await alice.call("chat", "join", channel="tea")
        assert await refusals("join", "tea", "more", "secret") == errors_on_the_page("Chat", "join")
        assert await refusals("leave", "more") == errors_on_the_page("Chat", "leave")
        assert await refusals("send", "more", body=1) == errors_on_the_page("Chat", "send")
        assert await refusals("read") == errors_on_the_page("Chat", "read")


async def test_errors_of_cursors(open_live: OpenLive) -> None:
    live = open_live(limits=Limits(max_subscriptions=1, max_cursors=1, max_cursor_bytes=300))
    live.frontend.register_service(Documents("cursors"))
    new = {"privateHandle": 1, "document": "recipe", "position": 0, "status": ""}
    big = {"status": "x" * 300}
    async with connect_as("alice", live) as alice, connect(live.url) as nobody:

        async def refusals(command: str, *calls: dict[str, Any]) -> set[str]:
            refused = {await elicited(alice.call("cursors", command, **c)) for c in calls}
            return refused | {await elicited(nobody.call("cursors", command, **calls[0]))}

        await alice.call("cursors", "join", document="recipe")
        documents = [{"document": name} for name in ("recipe", "other", "secret")]
        errors = await refusals("join", *documents)
        assert errors == errors_on_the_page("Cursors", "join")
        errors = await refusals("createCursor", {**new, "document": "other"}, {**new, **big})
        await alice.call("cursors", "createCursor", **new)
        errors |= await refusals("createCursor", new, {**new, "privateHandle": 2})
        assert errors == errors_on_the_page("Cursors", "createCursor")
        unknown = {"privateHandle": 7, "newData": {}}
        errors = await refusals("updateCursor", unknown, {"privateHandle": 1, "newData": big})
        assert errors == errors_on_the_page("Cursors", "updateCursor")
        errors = await refusals("removeCursor", {"privateHandle": 7})
        assert errors == errors_on_the_page("Cursors", "removeCursor")
        errors = await refusals("leave", {"document": "other"})
        assert errors == errors_on_the_page("Cursors", "leave")


async def answer_to(socket: Any, message: Any) -> Any:
    await socket.send(json.dumps({"service": "datasync", "message": message}))
    return (await received(socket))["message"]


@pytest.mark.usefixtures("each_fanout")
async def test_kept_deltas_come_before_the_answer_and_each_subscription_has_its_own(
    live: Live,
) -> None:
    items = [{"dealer": "AllTasks", "query": None}] * 2
    issued = [
        await live.back_end("datasync_backend", "authorizeSubscription", items=items)
        for _ in range(2)
    ]
    delta = {"type": "insert", "model": "Task", "data": {"id": 1}}
    await live.back_end("datasync_backend", "publishDeltas", deltas=[delta])
    notification = {"type": "delta", "delta": delta}
    async with websockets.connect(live.url) as socket:
        for call_id, one in enumerate(issued):
            acquire = {"command": "acquireSubscription", "params": {"token": one}}
            heard = await answer_to(socket, {**acquire, "callId": call_id})
            assert heard == notification
            assert (await received(socket))["message"]["callId"] == call_id
        await live.back_end("datasync_backend", "publishDeltas", deltas=[delta])
        for _ in issued:
            assert (await received(socket))["message"] == notification
    await live.until_nobody_is_here()
    async with connect(live.url) as connection:
        again = connection.call("datasync", "acquireSubscription", token=issued[0])
        assert await elicited(again) == "No such subscription"


@pytest.mark.usefixtures("each_fanout")
async def test_no_delta_follows_the_answer_to_cancelling(live: Live) -> None:
    items = [{"dealer": "AllTasks", "query": None}]
    one = await live.back_end("datasync_backend", "authorizeSubscription", items=items)
    delta = {"type": "insert", "model": "Task", "data": {"id": 1}}
    async with websockets.connect(live.url) as socket:
        params = {"token": one}
        await answer_to(socket, {"command": "acquireSubscription", "params": params})
        await live.back_end("datasync_backend", "publishDeltas", deltas=[delta])
        answer = await answer_to(socket, {"command": "cancelSubscription", "params": params})
        assert answer == {"type": "delta", "delta": delta}
        assert (await received(socket))["message"]["type"] == "response"
        await live.back_end("datasync_backend", "publishDeltas", deltas=[delta])
        answer = await answer_to(socket, {"command": "cancelSubscription", "params": params})
        assert answer["message"] == "No such subscription"
