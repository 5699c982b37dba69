"""Services and brokers start and stop with their registry, each once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky.brokers.memory import MemoryBroker
from snorky.identity import Handshake, Refused
from snorky.service_registry import ServiceRegistry
from snorky.services.base import RPCService, Service, rpc_command
from snorky.services.pubsub import PubSubService

HANDSHAKE = Handshake(path="/", headers={}, remote_address="192.0.2.1")


class Diary:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def service(self, name: str, **fails: Any) -> Service:
        return _Noted(self, name)

    def broker(self) -> MemoryBroker:
        return _NotedBroker(self)


class _Noted(Service):
    def __init__(self, diary: Diary, name: str) -> None:
        super().__init__(name)
        self.diary = diary

    async def start(self) -> None:
        await asyncio.sleep(0)
        self.diary.lines.append(f"start {self.name}")

    def stop(self) -> None:
        self.diary.lines.append(f"stop {self.name}")


class _NotedBroker(MemoryBroker):
    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self.diary = diary

    async def start(self) -> None:
        self.diary.lines.append("start broker")

    async def stop(self) -> None:
        self.diary.lines.append("stop broker")


@pytest.fixture
def diary() -> Diary:
    return Diary()


async def test_what_starts_last_stops_first(diary: Diary) -> None:
    pubsub = PubSubService("pubsub", diary.broker())
    registry = ServiceRegistry([diary.service("one"), pubsub, diary.service("two")])
    await registry.start()
    assert diary.lines == ["start one", "start broker", "start two"]
    await registry.stop()

    assert diary.lines[3:] == ["stop two", "stop broker", "stop one"]


async def test_a_second_start_starts_what_is_new_alone(diary: Diary) -> None:
    registry = ServiceRegistry([diary.service("one")])
    await asyncio.gather(registry.start(), registry.start())
    await registry.start()
    registry.register_service(diary.service("two"))
    await registry.start()
    assert diary.lines == ["start one", "start two"]
    await registry.stop()
    await registry.stop()
    await registry.start()

    assert diary.lines[2:] == ["stop two", "stop one", "start one", "start two"]


async def test_a_broker_that_registries_share_runs_as_long_as_one_of_them(diary: Diary) -> None:
    broker = diary.broker()
    one = ServiceRegistry([PubSubService("a", broker), PubSubService("b", broker)])
    two = ServiceRegistry([PubSubService("a", broker)])
    await one.start()
    await two.start()
    assert diary.lines == ["start broker"]
    await one.stop()
    assert diary.lines == ["start broker"]
    await two.stop()

    assert diary.lines == ["start broker", "stop broker"]


async def test_where_one_fails_those_before_it_are_stopped(diary: Diary) -> None:
    class Broken(Service):
        def start(self) -> None:
            raise OSError("no database")

    registry = ServiceRegistry([diary.service("one"), Broken("broken"), diary.service("two")])
    for _ in range(2):
        with pytest.raises(OSError, match="no database"):
            await registry.start()

    assert diary.lines == 2 * ["start one", "stop one"]


async def test_one_that_cannot_stop_does_not_keep_the_others_from_it(
    diary: Diary, expect_log: Any
) -> None:
    class Stuck(Service):
        def stop(self) -> None:
            raise asyncio.CancelledError

    registry = ServiceRegistry([diary.service("one"), Stuck("stuck")])
    await registry.start()
    await registry.stop()

    assert diary.lines == ["start one", "stop one"]
    expect_log("Unhandled exception while stopping")


async def test_the_first_client_starts_what_nobody_has_started(diary: Diary) -> None:
    registry = ServiceRegistry([diary.service("one")])
    await asyncio.gather(*(registry.admit(HANDSHAKE) for _ in range(3)))

    assert diary.lines == ["start one"]


async def test_nobody_comes_in_where_the_start_fails(expect_log: Any) -> None:
    class Late(Service):
        attempts = 0

        def start(self) -> None:
            self.attempts += 1
            if self.attempts == 1:
                raise OSError("not yet")

    late = Late("late")
    registry = ServiceRegistry([late])
    with pytest.raises(Refused) as refused:
        await registry.admit(HANDSHAKE)
    assert refused.value.status == 503
    expect_log("Unhandled exception while starting the services")
    await registry.admit(HANDSHAKE)

    assert late.attempts == 2


async def test_a_client_that_does_not_wait_stops_nothing(diary: Diary) -> None:
    class Slow(Service):
        async def start(self) -> None:
            await gate.wait()

    gate = asyncio.Event()
    registry = ServiceRegistry([Slow("slow"), diary.service("one")])
    admitting = asyncio.ensure_future(registry.admit(HANDSHAKE))
    await asyncio.sleep(0)
    admitting.cancel()
    await asyncio.gather(admitting, return_exceptions=True)
    gate.set()
    await registry.start()

    assert diary.lines == ["start one"]


async def test_commands_named_start_and_stop_are_the_clients(diary: Diary) -> None:
    class Timer(RPCService):
        @rpc_command
        def start(self, req: Any) -> None:  # type: ignore[override]
            diary.lines.append("started by a client")

        @rpc_command
        def stop(self, req: Any) -> None:  # type: ignore[override]
            diary.lines.append("stopped by a client")

    registry = ServiceRegistry([Timer("timer")])
    await registry.start()
    await registry.stop()

    assert diary.lines == []


async def test_methods_of_a_users_own_that_need_parameters_mean_something_else() -> None:
    class Clock(Service):
        def start(self, seconds: float) -> None:  # type: ignore[override]
            raise AssertionError("not for us to call")

        def stop(self, *, why: str) -> None:  # type: ignore[override]
            raise AssertionError("nor this one")

    registry = ServiceRegistry([Clock("clock")])
    await registry.start()
    await registry.stop()


def test_two_services_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="different names, got two 'one'"):
        ServiceRegistry([Service("one"), Service("one")])


async def test_who_stops_while_it_starts_lets_it_start_first(diary: Diary) -> None:
    registry = ServiceRegistry([diary.service("a")])
    starting = asyncio.ensure_future(registry.start())
    await asyncio.sleep(0)
    await registry.stop()
    await starting
    assert diary.lines == ["start a", "stop a"]
