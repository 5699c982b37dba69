"""Messaging in several processes: names are everybody's, and so are messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky.brokers.memory import MemoryBroker
from snorky.processes import Processes
from snorky.services.base import RPCError
from snorky.services.messaging import MessagingService
from snorky.testing import FakeClient, async_call
from tests.lines import until
from tests.one_engine import Connection
from tests.patience import patient


@pytest.fixture(autouse=True)
def quick_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {"beat": 0.02, "gone": 0.4}
    monkeypatch.setattr(Processes.__init__, "__kwdefaults__", defaults)


class Process:
    def __init__(self, engine: MemoryBroker) -> None:
        self.connection = Connection(engine)
        self.messaging = MessagingService("messaging", self.connection)

    async def register(self, name: str) -> FakeClient:
        client = FakeClient()
        await self.call(client, "registerParticipant", name=name)
        return client

    async def call(self, client: FakeClient, command: str, **params: Any) -> Any:
        return await async_call(self.messaging, client, command, **params)

    async def names(self) -> Any:
        return await self.call(FakeClient(), "listParticipants")


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    engine = MemoryBroker()
    both = [Process(engine), Process(engine)]
    for each in both:
        await each.messaging.start()
    await until(lambda: all(each.messaging.processes.others for each in both))
    yield both
    for each in both:
        each.connection.cut = False
        await each.messaging.stop()


async def until_names(process: Process, *names: str) -> None:
    async with asyncio.timeout(patient(10)):
        while await process.names() != list(names):
            await asyncio.sleep(0.001)


async def refused(process: Process, client: FakeClient, command: str, **params: Any) -> str:
    with pytest.raises(RPCError) as refusal:
        await process.call(client, command, **params)
    return str(refusal.value)


async def test_messages_reach_names_in_other_processes_in_order(processes: list[Process]) -> None:
    first, second = processes
    alice, bob = await first.register("alice"), await second.register("bob")
    await until_names(first, "alice", "bob")
    for number in range(3):
        await first.call(alice, "send", sender="alice", dest="bob", body=number)
    await until(lambda: len(bob.messages) == 3)
    assert bob.messages[0] == {"type": "message", "sender": "alice", "dest": "bob", "body": 0}
    assert [message["body"] for message in bob.messages] == [0, 1, 2]
    refusal = await refused(first, alice, "send", sender="alice", dest="carol", body=1)
    assert refusal == "Unknown destination"
    assert await refused(first, alice, "unregisterParticipant", name="bob") == "Invalid participant"


async def test_a_name_is_registered_once_over_all_processes(processes: list[Process]) -> None:
    first, second = processes
    results = await asyncio.gather(
        first.register("alice"), second.register("alice"), return_exceptions=True
    )
    assert sorted(isinstance(each, RPCError) for each in results) == [False, True]
    for each in processes:
        await until_names(each, "alice")
        with pytest.raises(RPCError, match="Name already registered"):
            await each.register("alice")
    owner = first if not isinstance(results[0], BaseException) else second
    other = second if owner is first else first
    (client,) = [each for each in results if isinstance(each, FakeClient)]
    await owner.call(client, "unregisterParticipant", name="alice")
    await until_names(other)
    await other.register("alice")


async def test_who_leaves_while_its_name_is_claimed_leaves_it_free(
    processes: list[Process],
) -> None:
    first, second = processes
    client = FakeClient()
    asked = asyncio.create_task(
        first.call(client, "registerParticipant", name="alice"),
    )
    await asyncio.sleep(0)
    client.connected = False
    first.messaging.client_disconnected(client)
    await asked
    await until_names(first)
    await second.register("alice")


async def test_what_the_engine_does_not_confirm_is_not_registered(
    processes: list[Process],
) -> None:
    first, _ = processes
    first.connection.cut = True
    with pytest.raises(RPCError, match="The broker is not available"):
        await first.register("alice")
    assert await first.names() == []
    first.connection.cut = False
    await first.register("alice")


async def test_the_names_of_a_killed_process_are_free_again(processes: list[Process]) -> None:
    first, second = processes
    await first.register("alice")
    await until_names(second, "alice")
    timer = first.messaging.processes._timer
    assert timer is not None
    timer.cancel()
    first.connection.cut = True
    await until_names(second)
    assert second.messaging._listed_bytes == 0
