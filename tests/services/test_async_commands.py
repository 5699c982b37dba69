"""Commands that take their time: their answers, their order and their limits."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from snorky.hashable import hashable
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.services.base import Request, RPCError, RPCService, rpc_asynchronous, rpc_command
from snorky.testing import FakeClient, async_call
from tests.patience import patient


class Kitchen(RPCService):
    """Everything waits for ``done``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.done = asyncio.Event()
        self.log: list[str] = []
        self.kept: list[Request] = []

    @rpc_command
    async def cook(self, req: Request, dish: Any = None) -> Any:
        self.log.append(f"begin {dish}")
        await self.done.wait()
        self.log.append(f"end {dish}")
        return dish

    @rpc_command
    async def serve(self, req: Request, dish: Any = None) -> Any:
        self.log.append(f"serve {dish}")
        return dish

    @rpc_command
    def order(self, req: Request, dish: Any) -> Awaitable[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(dish)
        return future

    @rpc_command
    async def refuse(self, req: Request) -> None:
        raise RPCError("Closed")

    @rpc_command
    async def burn(self, req: Request) -> None:
        raise ZeroDivisionError("out of order")

    @rpc_command
    async def give_up(self, req: Request) -> None:
        raise TimeoutError("the oven does not answer")

    @rpc_command
    async def unspeakable(self, req: Request) -> Any:
        return object()

    @rpc_command
    async def by_hand(self, req: Request, then: Any = None) -> Any:
        req.reply("served")
        return then

    @rpc_command
    async def serve_and_wait(self, req: Request) -> None:
        req.reply("served")
        await self.done.wait()

    @rpc_command
    @rpc_asynchronous
    async def keep(self, req: Request) -> None:
        self.kept.append(req)

    @rpc_command
    async def stubborn(self, req: Request) -> str:
        try:
            await self.done.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        return "never"


@pytest.fixture
async def kitchen() -> Kitchen:
    return Kitchen("kitchen")


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


def send(service: RPCService, client: FakeClient, command: str, **params: Any) -> None:
    call = {"command": command, "params": params, "callId": len(service.tasks)}
    service.process_message_from(client, hashable(call))


async def finished(service: RPCService) -> None:
    async with asyncio.timeout(patient(5)):
        await asyncio.gather(*service.tasks)


def answers(client: FakeClient) -> list[Any]:
    return [
        envelope["message"].get("data", envelope["message"].get("message"))
        for envelope in client.received
    ]


async def answer(service: RPCService, client: FakeClient, command: str, **params: Any) -> Any:
    """What is answered, and nothing else is."""
    send(service, client, command, **params)
    await finished(service)
    (only,) = client.received
    return only["message"]


# Answers


@pytest.mark.parametrize("dish", ["soup", 0, "", [], False])
async def test_what_an_asynchronous_command_returns_is_the_reply(
    kitchen: Kitchen, alice: FakeClient, dish: Any
) -> None:
    assert await answer(kitchen, alice, "serve", dish=dish) == {
        "type": "response",
        "callId": 0,
        "data": dish,
    }


async def test_nothing_returned_replies_null(kitchen: Kitchen, alice: FakeClient) -> None:
    assert await answer(kitchen, alice, "serve") == {"type": "response", "callId": 0, "data": None}


async def test_any_awaitable_may_be_returned(kitchen: Kitchen, alice: FakeClient) -> None:
    assert (await answer(kitchen, alice, "order", dish="soup"))["data"] == "soup"


async def test_nothing_is_answered_before_the_end(kitchen: Kitchen, alice: FakeClient) -> None:
    send(kitchen, alice, "cook", dish="soup")
    send(kitchen, alice, "serve")
    await asyncio.wait(kitchen.tasks, return_when=asyncio.FIRST_COMPLETED)
    assert answers(alice) == [None]

    kitchen.done.set()
    await finished(kitchen)

    assert answers(alice) == [None, "soup"]


async def test_a_refusal_goes_to_the_client(
    kitchen: Kitchen, alice: FakeClient, expect_log: Any
) -> None:
    assert await answer(kitchen, alice, "refuse") == {
        "type": "error",
        "callId": 0,
        "message": "Closed",
    }
    expect_log('Closed in RPC service "kitchen", call: refuse {}', level=logging.INFO)


@pytest.mark.parametrize(
    ("command", "exception"),
    [("burn", ZeroDivisionError), ("give_up", TimeoutError), ("unspeakable", TypeError)],
)
async def test_an_unexpected_exception_is_logged_and_tells_the_client_nothing(
    kitchen: Kitchen,
    alice: FakeClient,
    command: str,
    exception: type[Exception],
    expect_log: Any,
) -> None:
    assert (await answer(kitchen, alice, command))["message"] == "Internal error"
    record = expect_log(f'Unhandled exception in RPC service "kitchen": {command}({{}})')
    assert isinstance(record.exc_info[1], exception)


async def test_a_command_may_answer_before_its_end(kitchen: Kitchen, alice: FakeClient) -> None:
    assert (await answer(kitchen, alice, "by_hand"))["data"] == "served"


async def test_a_second_answer_is_only_logged(
    kitchen: Kitchen, alice: FakeClient, expect_log: Any
) -> None:
    assert (await answer(kitchen, alice, "by_hand", then=1))["data"] == "served"
    assert "already been resolved" in str(expect_log("Unhandled exception").exc_info[1])


async def test_a_command_may_leave_its_answer_to_others(
    kitchen: Kitchen, alice: FakeClient
) -> None:
    send(kitchen, alice, "keep")
    await finished(kitchen)
    assert alice.received == []

    kitchen.kept[0].reply("at last")

    assert answers(alice) == ["at last"]


async def test_params_are_checked_before_anything_starts(
    kitchen: Kitchen, alice: FakeClient, expect_log: Any
) -> None:
    send(kitchen, alice, "cook", unknown=1)

    assert answers(alice) == ["Invalid params"]
    assert not kitchen.tasks
    expect_log("Invalid params")


async def test_in_debug_an_unexpected_exception_comes_out_of_the_task(
    kitchen: Kitchen, alice: FakeClient
) -> None:
    with pytest.raises(ZeroDivisionError):
        await async_call(kitchen, alice, "burn")


# Order


async def test_commands_start_in_order_and_may_finish_out_of_order(
    kitchen: Kitchen, alice: FakeClient
) -> None:
    for number, command in enumerate(("cook", "serve", "cook", "serve")):
        send(kitchen, alice, command, dish=number)
    async with asyncio.timeout(patient(5)):
        while len(kitchen.log) < 4:
            await asyncio.sleep(0)
    assert kitchen.log == ["begin 0", "serve 1", "begin 2", "serve 3"]

    kitchen.done.set()
    await finished(kitchen)

    assert answers(alice) == [1, 3, 0, 2]


# Limits


async def test_a_command_that_takes_too_long_is_cancelled(
    kitchen: Kitchen, alice: FakeClient, expect_log: Any
) -> None:
    kitchen.limits = Limits(command_timeout=0.01)
    before = metrics.rpc_timeouts

    assert await answer(kitchen, alice, "stubborn") == {
        "type": "error",
        "callId": 0,
        "message": "Command timed out",
    }
    assert kitchen.log == ["cancelled"]
    assert metrics.rpc_timeouts == before + 1
    expect_log('Command timed out after 0.01 s in RPC service "kitchen": stubborn({})')


async def test_a_command_that_has_answered_is_cancelled_without_a_second_answer(
    kitchen: Kitchen, alice: FakeClient, expect_log: Any
) -> None:
    kitchen.limits = Limits(command_timeout=0.01)

    assert (await answer(kitchen, alice, "serve_and_wait"))["data"] == "served"
    expect_log("Command timed out")


async def test_a_client_has_a_limited_number_of_calls_under_way(
    kitchen: Kitchen, alice: FakeClient
) -> None:
    kitchen.limits = Limits(max_pending_calls=2)
    bob = FakeClient("bob")
    for dish in ("soup", "salad", "cake"):
        send(kitchen, alice, "cook", dish=dish)
    send(kitchen, bob, "cook", dish="pie")
    assert answers(alice) == ["Too many pending calls"]
    assert answers(bob) == []

    kitchen.done.set()
    await finished(kitchen)
    send(kitchen, alice, "cook", dish="tea")
    await finished(kitchen)

    assert answers(alice) == ["Too many pending calls", "soup", "salad", "tea"]
    assert answers(bob) == ["pie"]
    assert "begin cake" not in kitchen.log


async def test_calls_that_failed_count_no_more(
    kitchen: Kitchen, alice: FakeClient, expect_log: Any
) -> None:
    kitchen.limits = Limits(max_pending_calls=1, command_timeout=0.01)
    for command in ("refuse", "burn", "stubborn", "unspeakable", "serve"):
        send(kitchen, alice, command)
        await finished(kitchen)

    assert answers(alice) == [
        "Closed",
        "Internal error",
        "Command timed out",
        "Internal error",
        None,
    ]
    assert expect_log.all("Unhandled exception") == 2
    expect_log("Command timed out")


async def test_plain_commands_do_not_count_as_pending(kitchen: Kitchen, alice: FakeClient) -> None:
    class Counter(RPCService):
        @rpc_command
        def next(self, req: Request) -> int:
            return 1

    counter = Counter("counter")
    counter.limits = Limits(max_pending_calls=0)
    send(counter, alice, "next")

    assert answers(alice) == [1]


async def test_calls_under_way_are_counted(kitchen: Kitchen, alice: FakeClient) -> None:
    before = metrics.rpc_pending
    send(kitchen, alice, "cook")
    send(kitchen, alice, "cook")
    assert metrics.rpc_pending == before + 2
    assert len(kitchen.tasks) == 2

    kitchen.done.set()
    await finished(kitchen)

    assert metrics.rpc_pending == before
    assert not kitchen.tasks


# Clients that leave


async def test_a_command_runs_to_its_end_when_its_client_leaves(
    kitchen: Kitchen, alice: FakeClient
) -> None:
    send(kitchen, alice, "cook", dish="soup")
    alice.close()
    kitchen.client_disconnected(alice)

    kitchen.done.set()
    await finished(kitchen)

    assert kitchen.log == ["begin soup", "end soup"]
    assert alice.received == []


async def test_an_async_override_may_return_what_its_base_returns() -> None:
    class Restaurant(Kitchen):
        @rpc_command
        async def order(self, req: Request, dish: Any) -> Any:
            return super().order(req, f"{dish} of the day")

    assert await async_call(Restaurant("restaurant"), FakeClient(), "order", dish="soup") == (
        "soup of the day"
    )
