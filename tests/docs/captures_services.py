"""What services are told and say: messages alone, without their frames."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from snorky.services.chat import ChatService
from snorky.services.cursors import CursorsService
from snorky.services.events import EventsBackend, EventsService
from snorky.services.messaging import MessagingService
from snorky.testing import FakeClient, call
from tests.docs.capture_site import UPGRADE, Site, as_json
from tests.docs.transcript import Transcript, Wire, wire_to

NEWS: dict[str, Any] = {"channel": "news"}


class TimelessChat(ChatService):
    def get_time(self) -> str:
        return "2050-01-01T12:00:00+00:00"


class Caller:
    """A client; ``hears`` says how many messages come to it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._call_id = -1

    async def asks(self, service: str, command: str, *, hears: int = 1, **params: Any) -> bytes:
        self._call_id += 1
        message = {"command": command, "params": params, "callId": self._call_id}
        return await self.says(service, message, hears=hears)

    async def says(self, service: str, message: Any, *, hears: int = 1) -> bytes:
        self._wire.say_frame(as_json({"service": service, "message": message}))
        return await self.hears(hears)

    async def hears(self, messages: int = 1) -> bytes:
        """Returns the last of them."""
        last = b""
        for _ in range(messages):
            last = await self._wire.hear_frame()
        return last


@asynccontextmanager
async def connected(port: int, transcript: Transcript, name: str = "") -> AsyncIterator[Caller]:
    """A client that is somebody, where it has a name."""
    async with wire_to(port, transcript, name) as wire:
        transcript.begin("handshake")  # on the page about WebSocket
        wire.request(f"GET /ws?who={name}" if name else "GET /ws", *UPGRADE)
        await wire.hear_head()
        del transcript.blocks["handshake"]
        yield Caller(wire)


async def protocol(transcript: Transcript) -> None:
    site = Site()
    async with site.front_door() as port, connected(port, transcript) as client:
        transcript.begin("calls")
        await client.says("pubsub", {"command": "subscribe", "params": NEWS, "callId": 0})
        await client.says("pubsub", {"command": "unsubscribe", "params": NEWS})
        await client.says("pubsub", {"command": "dance", "params": {}, "callId": "my dance"})
        misspelt = {"chanel": "news"}
        await client.says("pubsub", {"command": "subscribe", "params": misspelt, "callId": 1})


async def services(transcript: Transcript) -> None:
    site = Site()
    for service in (TimelessChat("chat"), CursorsService("cursors"), MessagingService("messaging")):
        site.frontend.register_service(service)
    async with site.front_door() as port:
        async with connected(port, transcript) as client:
            await _pubsub(client, transcript)
        async with connected(port, transcript) as client:
            await _datasync(client, site, transcript)
        async with connected(port, transcript) as client:
            await _events(client, site, transcript)
        async with (
            connected(port, transcript, "alice") as alice,
            connected(port, transcript, "bob") as bob,
        ):
            await _messaging(alice, bob, transcript)
            await _chat(alice, bob, transcript)
            await _cursors(alice, bob, transcript)


async def _pubsub(client: Caller, transcript: Transcript) -> None:
    transcript.begin("pubsub")
    await client.asks("pubsub", "subscribe", **NEWS)
    await client.asks("pubsub", "subscribe", **NEWS)
    await client.asks("pubsub", "publish", **NEWS, message="Tea is ready", hears=2)
    await client.asks("pubsub", "unsubscribe", **NEWS)


async def _datasync(client: Caller, site: Site, transcript: Transcript) -> None:
    backend = site.backend.registered_services["datasync_backend"]

    def changes(**delta: Any) -> None:
        call(backend, FakeClient(), "publishDeltas", deltas=[{"model": "Task", **delta}])

    transcript.begin("datasync")
    items = [{"dealer": "AllTasks", "query": None}]
    token = call(backend, FakeClient(), "authorizeSubscription", items=items)
    tea, cake = {"id": 1, "title": "Tea"}, {"id": 1, "title": "Tea and cake"}
    changes(type="insert", data=tea)
    await client.asks("datasync", "acquireSubscription", token=token, hears=2)
    changes(type="update", newData=cake, oldData=tea)
    await client.hears()
    await client.asks("datasync", "cancelSubscription", token=token)
    await client.asks("datasync", "acquireSubscription", token=token)


async def _events(client: Caller, site: Site, transcript: Transcript) -> None:
    events = EventsService("events")
    backend = EventsBackend("events_backend", events)
    site.frontend.register_service(events)

    transcript.begin("events")
    page_id = json.loads(await client.asks("events", "getId"))["message"]["data"]
    transcript.replace(page_id, "0123456789abcdef0123456789abcdef")
    call(backend, FakeClient(), "connect", clientId=page_id, path=["/jobs/7", "/news/*"])
    call(backend, FakeClient(), "update", path="/jobs/7", message={"done": 50})
    await client.hears()
    call(backend, FakeClient(), "update", path="/news/today", message="Tea is ready")
    await client.hears()
    await client.asks("events", "leave", path="/jobs/7")


async def _messaging(alice: Caller, bob: Caller, transcript: Transcript) -> None:
    transcript.begin("messaging")
    await alice.asks("messaging", "registerParticipant", name="alice")
    await bob.asks("messaging", "registerParticipant", name="bob")
    await bob.asks("messaging", "listParticipants")
    await bob.asks("messaging", "send", sender="bob", dest="alice", body="Tea?")
    await alice.hears()


async def _chat(alice: Caller, bob: Caller, transcript: Transcript) -> None:
    transcript.begin("chat")
    await alice.asks("chat", "join", channel="kitchen")
    await bob.asks("chat", "join", channel="kitchen")
    await alice.hears()
    await bob.asks("chat", "send", channel="kitchen", body="Tea is ready", hears=2)
    await alice.hears()
    await bob.asks("chat", "leave", channel="kitchen")
    await alice.hears()


async def _cursors(alice: Caller, bob: Caller, transcript: Transcript) -> None:
    transcript.begin("cursors")
    await alice.asks("cursors", "join", document="recipe")
    await bob.asks("cursors", "join", document="recipe")
    await bob.asks(
        "cursors",
        "createCursor",
        privateHandle="mine",
        document="recipe",
        position=12,
        status="typing",
    )
    await alice.hears()
    await bob.asks("cursors", "updateCursor", privateHandle="mine", newData={"position": 13})
    await alice.hears()
    await bob.asks("cursors", "removeCursor", privateHandle="mine")
    await alice.hears()
