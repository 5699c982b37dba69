"""Every service in one process and in three, over memory and over real engines.

That of live lists has more to say: datasync/test_processes.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from snorky import ServiceRegistry
from snorky.brokers import Broker
from snorky.brokers.memory import MemoryBroker
from snorky.brokers.postgres import PostgresBroker
from snorky.brokers.redis import RedisBroker
from snorky.services.base import RPCError
from snorky.services.chat import ChatService
from snorky.services.cursors import CursorsService
from snorky.services.events import EventsBackend, EventsService
from snorky.services.identity import IdentityBackend
from snorky.services.messaging import MessagingService
from snorky.services.pubsub import ChannelOptions, Conflate, History, PubSubBackend, PubSubService
from snorky.testing import FakeClient, async_call
from tests.lines import until
from tests.one_engine import Connection
from tests.servers import Postgres, Valkey

CHANNELS = {
    "kept/*": ChannelOptions(history=History(), presence="members"),
    "prices": ChannelOptions(conflate=Conflate(per_second=20, key="symbol")),
}


class Process:
    """All services over one connection to the engine."""

    def __init__(self, broker: Broker) -> None:
        self.pubsub = PubSubService("pubsub", broker, channels=CHANNELS)
        self.chat = ChatService("chat", broker)
        self.messaging = MessagingService("messaging", broker)
        self.cursors = CursorsService("cursors", broker)
        self.events = EventsService("events", broker)
        self.front = ServiceRegistry(
            [self.pubsub, self.chat, self.messaging, self.cursors, self.events]
        )
        self.hand = IdentityBackend("identity_backend", self.front, broker)
        self.pubsub_backend = PubSubBackend("pubsub_backend", self.pubsub)
        self.events_backend = EventsBackend("events_backend", self.events)
        self.back = ServiceRegistry([self.hand, self.pubsub_backend, self.events_backend])
        self._clients: list[FakeClient] = []

    def connect(self, identity: Any) -> FakeClient:
        client = FakeClient(identity)
        self.front.client_connected(client)
        self._clients.append(client)
        return client

    def disconnect(self, client: FakeClient) -> None:
        self.front.client_disconnected(client)
        self._clients.remove(client)

    async def stop(self) -> None:
        for client in tuple(self._clients):
            self.disconnect(client)
        await self.back.stop()
        await self.front.stop()


@pytest.fixture(scope="module", params=["memory", "valkey", "postgres"])
def engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes the broker of one more process."""
    if request.param == "memory":
        memory = MemoryBroker()
        yield lambda: Connection(memory)
        return
    server: Valkey | Postgres = request.getfixturevalue(f"{request.param}_server")
    server.start()
    if isinstance(server, Valkey):
        yield lambda: RedisBroker(server.url)
        return
    with server.database() as url:
        yield lambda: PostgresBroker(url)


@pytest.fixture(params=[1, 3])
async def processes(
    request: pytest.FixtureRequest, engine: Any
) -> AsyncIterator[tuple[Process, Process]]:
    """Two of them; where there is but one, it twice."""
    every = [Process(engine()) for _ in range(request.param)]
    for each in every:
        await each.front.start()
        await each.back.start()
    for each in every:
        for name in ("hand", "pubsub", "chat", "messaging", "cursors", "events"):
            known = getattr(each, name).processes
            await until(lambda known=known: len(known.others) == len(every) - 1)
    yield every[0], every[-1]
    for each in every:
        await each.stop()


async def ask(of: Any, client: FakeClient, command: str, **params: Any) -> Any:
    return await async_call(of, client, command, **params)


async def test_a_page_recovers_what_it_missed_in_another_process(
    processes: tuple[Process, Process],
) -> None:
    here, there = processes
    page = here.connect("alice")
    joined = await ask(here.pubsub, page, "subscribe", channel="kept/1")
    for number in range(5):
        await ask(there.pubsub_backend, FakeClient(), "publish", channel="kept/1", message=number)
    await until(lambda: sum(m["type"] == "message" for m in page.messages) == 5)
    seen = [m for m in page.messages if m["type"] == "message"]
    assert [m["message"] for m in seen] == list(range(5))
    here.disconnect(page)

    await ask(there.pubsub, FakeClient(), "publish", channel="kept/1", message="late")
    back = there.connect("alice")
    last = seen[-1]["position"]
    answer = await ask(there.pubsub, back, "subscribe", channel="kept/1", since=last)
    assert answer["recovered"] is True
    assert [m["message"] for m in answer["messages"]] == ["late"]
    other = there.connect("bob")
    answer = await ask(there.pubsub, other, "subscribe", channel="kept/1", since=joined["position"])
    assert [m["message"] for m in answer["messages"]] == [*range(5), "late"]


async def test_presence_is_of_both(processes: tuple[Process, Process]) -> None:
    here, there = processes
    alice, bob = here.connect("alice"), there.connect("bob")
    await ask(here.chat, alice, "join", channel="tea")
    joined = await ask(there.chat, bob, "join", channel="tea")
    await until(lambda: members_told(joined, bob) == {"alice", "bob"})
    await until(lambda: alice.messages)
    await ask(there.chat, bob, "send", channel="tea", body="hi")
    there.disconnect(bob)
    await until(lambda: len(alice.messages) == 3)
    assert [m.get("status") or m["body"] for m in alice.messages] == ["joined", "hi", "left"]


def members_told(joined: Any, client: FakeClient) -> set[Any]:
    """Those there were, and who has come since: a change of the last moment is told by itself."""
    came = {m["from"] for m in client.messages if m.get("status") == "joined"}
    return came | set(joined["members"])


async def test_names_and_cursors_are_shared(processes: tuple[Process, Process]) -> None:
    here, there = processes
    alice, bob = here.connect("alice"), there.connect("bob")
    await ask(here.messaging, alice, "registerParticipant", name="alice")
    await until(lambda: there.messaging._is_taken("alice"))
    with pytest.raises(RPCError, match="Name already registered"):
        await ask(there.messaging, bob, "registerParticipant", name="alice")
    await ask(there.messaging, bob, "registerParticipant", name="bob")
    await ask(there.messaging, bob, "send", sender="bob", dest="alice", body="hi")
    await until(lambda: [m["body"] for m in alice.messages] == ["hi"])

    alice.received.clear()
    await ask(here.cursors, alice, "join", document="plan")
    place = {"document": "plan", "position": 1, "status": None}
    await ask(there.cursors, bob, "join", document="plan")
    handle = await ask(there.cursors, bob, "createCursor", privateHandle=1, **place)
    await until(lambda: alice.messages)
    assert alice.messages[0]["cursor"]["publicHandle"] == handle


async def test_servers_reach_everybody_by_way_of_any_process(
    processes: tuple[Process, Process],
) -> None:
    here, there = processes
    alices = [here.connect("alice"), there.connect("alice")]
    server = FakeClient()
    order = {"identity": "alice", "serviceName": "pubsub", "channel": "prices"}
    assert await ask(here.hand, server, "subscribe", **order) == 2
    assert await ask(there.pubsub_backend, server, "channels", prefix="p") == [
        {"channel": "prices", "connections": 2}
    ]
    page_id = await ask(here.events, alices[0], "getId")
    await ask(there.events_backend, server, "connect", clientId=page_id, path="/jobs/7")
    await ask(there.events_backend, server, "update", path="/jobs/7", message=50)
    await until(lambda: alices[0].messages[-1].get("path") == "/jobs/7")
    assert await ask(there.hand, server, "disconnect", identity="alice") == 2
    assert all(alice.closed for alice in alices)
