"""CancelledError out of a hook or a command is a fault like others, and costs nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky.hashable import hashable
from snorky.identity import Handshake, Refused
from snorky.service_registry import ServiceRegistry
from snorky.services.base import RPCService, Service, rpc_command
from snorky.testing import FakeClient


class Faulty(RPCService):
    """Everything asks a task for its result, and that was cancelled."""

    def client_disconnected(self, client: Any) -> None:
        raise asyncio.CancelledError

    @rpc_command
    def at_once(self, req: Any) -> None:
        raise asyncio.CancelledError

    @rpc_command
    async def later(self, req: Any) -> None:
        task = asyncio.ensure_future(asyncio.sleep(60))
        task.cancel()
        await task


class Count(Service):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.there: set[Any] = set()

    def client_connected(self, client: Any) -> None:
        self.there.add(client)

    def client_disconnected(self, client: Any) -> None:
        self.there.discard(client)

    def process_message_from(self, client: Any, msg: Any) -> None:
        raise asyncio.CancelledError


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


def test_every_service_is_told_that_a_client_left(client: FakeClient, expect_log: Any) -> None:
    count = Count("count")
    registry = ServiceRegistry([Faulty("faulty"), count])
    registry.client_connected(client)
    registry.client_disconnected(client)

    assert not count.there
    expect_log('Unhandled exception in service "faulty"')


@pytest.mark.parametrize("command", ["at_once", "later"])
async def test_every_call_is_answered(client: FakeClient, command: str, expect_log: Any) -> None:
    faulty = Faulty("faulty")
    message = {"command": command, "params": {}, "callId": 7}
    faulty.process_message_from(client, hashable(message))
    await asyncio.gather(*faulty.tasks)

    assert [each["message"] for each in client.received] == [
        {"type": "error", "callId": 7, "message": "Internal error"}
    ]
    expect_log(f'Unhandled exception in RPC service "faulty": {command}')


async def test_a_call_that_is_cancelled_itself_ends(client: FakeClient) -> None:
    class Sleepy(RPCService):
        @rpc_command
        async def sleep(self, req: Any) -> None:
            await asyncio.sleep(60)

    sleepy = Sleepy("sleepy")
    sleepy.process_message_from(client, hashable({"command": "sleep", "params": {}, "callId": 1}))
    await asyncio.sleep(0)
    (task,) = sleepy.tasks
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.received == []


def test_one_bad_message_costs_nobody_the_connection(client: FakeClient, expect_log: Any) -> None:
    registry = ServiceRegistry([Count("count")])
    registry.process_message_from(client, {"service": "count", "message": 1})

    assert client.connected
    expect_log('Unhandled exception in service "count"')


async def test_who_cannot_be_checked_does_not_come_in(expect_log: Any) -> None:
    async def authenticate(handshake: Handshake) -> Any:
        task = asyncio.ensure_future(asyncio.sleep(60))
        task.cancel()
        return await task

    registry = ServiceRegistry(authenticate=authenticate)
    with pytest.raises(Refused) as refused:
        await registry.admit(Handshake("/", {}, remote_address="192.0.2.1"))

    assert refused.value.status == 500
    expect_log("Unhandled exception while authenticating 192.0.2.1")
