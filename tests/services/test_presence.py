"""Presence in several processes: each identity joins once and leaves once, whatever happens."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky.brokers.memory import MemoryBroker
from snorky.processes import Processes
from snorky.services.chat import ChatBackend, ChatService
from snorky.testing import FakeClient, async_call
from tests.lines import until
from tests.one_engine import Connection

pytestmark = pytest.mark.usefixtures("quick_processes")


@pytest.fixture
def quick_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {"beat": 0.02, "gone": 0.4}
    monkeypatch.setattr(Processes.__init__, "__kwdefaults__", defaults)


class Process:
    """One process: a chat, and its connection to the engine."""

    def __init__(self, engine: MemoryBroker, count_only: tuple[str, ...] = ()) -> None:
        self.connection = Connection(engine)
        self.chat = ChatService("chat", self.connection, count_only=count_only)

    async def join(self, identity: Any, channel: str = "tea") -> tuple[FakeClient, Any]:
        client = FakeClient(identity)
        return client, await async_call(self.chat, client, "join", channel=channel)

    def die(self) -> None:
        """As a process does that is killed: without a word."""
        timer = self.chat.processes._timer
        assert timer is not None
        timer.cancel()
        self.connection.cut = True


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    engine = MemoryBroker()
    three = [Process(engine) for _ in range(3)]
    for each in three:
        await each.chat.start()
    await until(lambda: all(len(each.chat.processes.others) == 2 for each in three))
    yield three
    for each in three:
        each.connection.cut = False
        await each.chat.stop()


def heard(client: FakeClient) -> list[tuple[Any, str]]:
    """Who came and went, as this client was told."""
    return [
        (message["from"], message["status"])
        for message in client.messages
        if message["type"] == "presence"
    ]


async def test_members_are_those_of_all_processes(processes: list[Process]) -> None:
    first, second, third = processes
    alice, joined = await first.join("alice")
    assert joined == {"members": ["alice"]}
    bob, joined = await second.join("bob")
    assert sorted(joined["members"]) == ["alice", "bob"]
    await until(lambda: heard(alice) == [("bob", "joined")])
    _, joined = await third.join({"id": 3})
    assert len(joined["members"]) == 3
    assert {"id": 3} in joined["members"]
    await until(lambda: len(heard(bob)) == 1)


async def test_an_identity_joins_once_and_leaves_once_over_all_its_connections(
    processes: list[Process],
) -> None:
    first, second, third = processes
    witness, _ = await third.join("witness")
    one, _ = await first.join("alice")
    await until(lambda: heard(witness) == [("alice", "joined")])
    other, joined = await second.join("alice")
    assert sorted(joined["members"]) == ["alice", "witness"]
    await async_call(first.chat, one, "leave", channel="tea")
    more, _ = await third.join("alice")
    second.chat.client_disconnected(other)
    await async_call(first.chat, FakeClient("bob"), "join", channel="tea")
    await until(lambda: len(heard(witness)) == 2)
    assert heard(witness)[1] == ("bob", "joined")
    third.chat.client_disconnected(more)
    await until(lambda: heard(witness)[2:] == [("alice", "left")])
    for client in (one, other, more):
        assert ("alice", "joined") not in heard(client)


async def test_messages_and_those_who_say_them_come_in_order(processes: list[Process]) -> None:
    first, second, _ = processes
    witness, _ = await second.join("witness")
    alice, _ = await first.join("alice")
    await async_call(first.chat, alice, "send", channel="tea", body="hello")
    await async_call(first.chat, alice, "leave", channel="tea")
    await until(lambda: len(witness.messages) == 3)
    assert [message.get("status") or message["body"] for message in witness.messages] == [
        "joined",
        "hello",
        "left",
    ]


async def test_ghosts_of_a_killed_process_leave_once(processes: list[Process]) -> None:
    first, second, third = processes
    witness, _ = await first.join("witness")
    other, _ = await second.join("other")
    await third.join("alice")
    await third.join("alice")
    await third.join("witness")
    await until(lambda: ("alice", "joined") in heard(witness))
    third.die()
    await until(lambda: heard(witness)[-1] == heard(other)[-1] == ("alice", "left"))
    assert heard(witness).count(("alice", "left")) == 1
    _, joined = await second.join("late")
    assert sorted(joined["members"]) == ["late", "other", "witness"]


async def test_after_a_split_all_see_the_same_again(processes: list[Process]) -> None:
    first, _second, third = processes
    alice, _ = await first.join("alice")
    bob, _ = await third.join("bob")
    await until(lambda: len(heard(alice)) == 1)
    third.connection.cut = True
    await until(lambda: heard(alice)[-1] == ("bob", "left"))
    carol, _ = await first.join("carol")
    first.chat.client_disconnected(alice)
    third.connection.cut = False
    await until(lambda: heard(bob) == [("carol", "joined"), ("alice", "left")])
    await until(lambda: heard(carol)[-1] == ("bob", "joined"))


async def test_a_change_that_is_lost_on_its_way_is_made_up_for(processes: list[Process]) -> None:
    first, second, _ = processes
    witness, _ = await first.join("witness")
    alice, _ = await second.join("alice")
    await until(lambda: len(heard(witness)) == 1)
    second.connection.lose = lambda topic, message: "changes" in message
    second.chat.client_disconnected(alice)
    await until(lambda: heard(witness)[-1] == ("alice", "left"))

    _bob, _ = await second.join("bob")
    await until(lambda: heard(witness)[-1] == ("bob", "joined"))
    second.connection.lose = lambda topic, message: False
    await second.join("carol")
    await until(lambda: heard(witness)[-1] == ("carol", "joined"))
    assert len(heard(witness)) == 4


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_all_agree_in_the_end(processes: list[Process], seed: int) -> None:
    dice = random.Random(seed)
    witnesses = [await each.join(f"witness{n}") for n, each in enumerate(processes)]
    clients: list[tuple[Process, FakeClient]] = []
    for _ in range(60):
        process = dice.choice(processes)
        action = dice.random()
        if action < 0.1:
            process.connection.cut = not process.connection.cut
        elif action < 0.2:
            process.connection.lose = lambda topic, message: "changes" in message
        elif action < 0.3:
            process.connection.lose = lambda topic, message: False
        elif action < 0.6 and clients:
            process, client = clients.pop(dice.randrange(len(clients)))
            process.chat.client_disconnected(client)
        elif not process.connection.cut:
            client, _ = await process.join(dice.choice("abcd"))
            clients.append((process, client))
    for each in processes:
        each.connection.cut = False
        each.connection.lose = lambda topic, message: False

    there = {"witness0", "witness1", "witness2"} | {client.identity for _, client in clients}
    for witness, joined in witnesses:
        await until(lambda witness=witness, joined=joined: view(witness, joined) == there)


def view(client: FakeClient, joined: Any) -> set[Any]:
    """Who is there, by the answer to a client's join and all that it heard since."""
    seen = set(joined["members"])
    for identity, status in heard(client):
        assert (identity in seen) == (status == "left"), "once each"
        (seen.add if status == "joined" else seen.remove)(identity)
    return seen


async def test_reading_is_told_to_the_same_identity_in_every_process(
    processes: list[Process],
) -> None:
    first, second, _ = processes
    one, _ = await first.join("alice")
    two, _ = await first.join("alice")
    far, _ = await second.join("alice")
    await async_call(first.chat, one, "read", channel="tea")
    await until(lambda: [m["type"] for m in far.messages] == ["read"])
    assert [m["type"] for m in two.messages] == ["read"]
    assert one.messages == []


async def test_trusted_servers_see_channels_and_members_of_all_processes(
    processes: list[Process],
) -> None:
    first, second, third = processes
    backend = ChatBackend("chat_backend", third.chat)
    await backend.start()
    await first.join("alice")
    await second.join("alice")
    await second.join("bob", channel="coffee")
    server = FakeClient()
    assert await async_call(backend, server, "channels") == [
        {"channel": "coffee", "connections": 1},
        {"channel": "tea", "connections": 2},
    ]
    assert await async_call(backend, server, "channels", prefix="t") == [
        {"channel": "tea", "connections": 2}
    ]
    assert await async_call(backend, server, "members", channel="tea") == [
        {"identity": "alice", "connections": 2}
    ]
    await backend.stop()
