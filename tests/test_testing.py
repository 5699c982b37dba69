"""What users' tests of their services rely on."""

import asyncio
from typing import Any

import pytest

from snorky.client import Client
from snorky.services.base import Request, RPCError, RPCService, rpc_asynchronous, rpc_command
from snorky.services.pubsub import PubSubService
from snorky.testing import FakeClient, async_call, call


class Desk(RPCService):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.kept: list[Request] = []

    @rpc_command
    def echo(self, req: Request, value: Any, *, command: Any = None) -> Any:
        return (value, command)

    @rpc_command
    def key(self, req: Request, value: Any) -> Any:
        return {value: "found"}[value]

    @rpc_command
    def refuse(self, req: Request) -> None:
        raise RPCError("Closed")

    @rpc_command
    def crash(self, req: Request) -> None:
        raise ZeroDivisionError("out of order")

    @rpc_command
    def unspeakable(self, req: Request) -> Any:
        return object()

    @rpc_command
    def by_hand(self, req: Request, *, fail: bool = False) -> None:
        if fail:
            req.error("Closed")
        else:
            req.reply("done")

    @rpc_command
    def greet(self, req: Request) -> None:
        self.send_message_to(req.client, {"type": "greeting"})
        self.send_message_to(req.client, "plain")

    @rpc_command
    @rpc_asynchronous
    def keep(self, req: Request) -> None:
        self.kept.append(req)
        asyncio.get_running_loop().call_soon(req.reply, "later")

    @rpc_command
    async def slow(self, req: Request, *, fail: bool = False) -> str:
        await asyncio.sleep(0)
        if fail:
            raise ZeroDivisionError("out of order")
        return "done"

    @rpc_command
    @rpc_asynchronous
    def never(self, req: Request) -> None:
        """Answers never."""


@pytest.fixture
def desk() -> Desk:
    return Desk("desk")


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient(identity="alice")


# The fake client


def test_a_fake_client_is_a_client_with_an_identity_and_an_address() -> None:
    fake = FakeClient()

    assert isinstance(fake, Client)
    assert (fake.identity, fake.remote_address, fake.received) == (None, "fake", [])
    alice = FakeClient("alice", "192.0.2.1")
    assert (alice.identity, alice.remote_address) == ("alice", "192.0.2.1")


def test_a_fake_client_keeps_what_it_is_sent_as_json(alice: FakeClient) -> None:
    message = {"a": (1, 2)}
    alice.send(message)
    message["a"] = (3, 4)

    assert alice.received == [{"a": [1, 2]}]
    with pytest.raises(TypeError):
        alice.send(object())


def test_a_fake_client_that_was_closed_receives_nothing_more(alice: FakeClient) -> None:
    alice.close(4000, "bye")
    alice.close()
    alice.send("late")

    assert alice.closed == (4000, "bye")
    assert not alice.connected
    assert alice.received == []
    with pytest.raises(TypeError):
        alice.send(object())


def test_the_messages_of_a_fake_client_leave_answers_and_envelopes_out(
    desk: Desk, alice: FakeClient
) -> None:
    desk.process_message_from(alice, {"command": "greet", "params": {}, "callId": 1})
    desk.process_message_from(alice, {"command": "refuse", "params": {}})

    assert alice.messages == [{"type": "greeting"}, "plain"]
    assert len(alice.received) == 4


# Calls


def test_a_call_returns_the_reply_as_the_client_would_see_it(desk: Desk, alice: FakeClient) -> None:
    assert call(desk, alice, "echo", value={1: (2, 3)}, command="c") == [{"1": [2, 3]}, "c"]
    assert call(desk, alice, "key", value=[1, {"a": []}]) == "found"
    assert call(desk, alice, "by_hand") == "done"
    assert call(desk, alice, "greet") is None


def test_the_answer_to_a_call_is_not_among_what_the_client_received(
    desk: Desk, alice: FakeClient
) -> None:
    call(desk, alice, "greet")

    assert alice.received == [
        {"service": "desk", "message": {"type": "greeting"}},
        {"service": "desk", "message": "plain"},
    ]


@pytest.mark.parametrize(("command", "params"), [("refuse", {}), ("by_hand", {"fail": True})])
def test_a_refused_call_raises_its_text(
    desk: Desk, alice: FakeClient, command: str, params: dict[str, Any]
) -> None:
    with pytest.raises(RPCError, match=r"^Closed$"):
        call(desk, alice, command, **params)


def test_an_unknown_command_is_refused(desk: Desk, alice: FakeClient) -> None:
    with pytest.raises(RPCError, match=r"^Unknown command$"):
        call(desk, alice, "stranger")


@pytest.mark.parametrize(
    ("command", "fault"), [("crash", ZeroDivisionError), ("unspeakable", TypeError)]
)
def test_an_unexpected_exception_comes_out_of_the_call(
    desk: Desk, alice: FakeClient, command: str, fault: type[Exception]
) -> None:
    with pytest.raises(fault):
        call(desk, alice, command)


def test_an_async_command_needs_the_other_call_also_where_no_loop_runs(alice: FakeClient) -> None:
    class Slow(RPCService):
        @rpc_command
        async def read(self, req: Request) -> int:
            return 1

    with pytest.raises(AssertionError, match="read is async, so it answers later: use async_call"):
        call(Slow("slow"), alice, "read")


def test_a_command_that_does_not_answer_at_once_needs_the_other_call(
    desk: Desk, alice: FakeClient
) -> None:
    with pytest.raises(AssertionError, match="never did not answer at once: use async_call"):
        call(desk, alice, "never")


async def test_an_asynchronous_call_waits_for_the_answer(desk: Desk, alice: FakeClient) -> None:
    assert await async_call(desk, alice, "slow") == "done"
    assert await async_call(desk, alice, "keep") == "later"
    assert await async_call(desk, alice, "echo", value=1) == [1, None]


async def test_an_asynchronous_call_raises_what_the_command_raised(
    desk: Desk, alice: FakeClient
) -> None:
    with pytest.raises(ZeroDivisionError):
        await async_call(desk, alice, "slow", fail=True)
    with pytest.raises(RPCError, match="Closed"):
        await async_call(desk, alice, "refuse")


def test_a_service_is_tested_in_three_lines(alice: FakeClient) -> None:
    pubsub = PubSubService("pubsub")
    call(pubsub, alice, "subscribe", channel="news")
    call(pubsub, FakeClient(), "publish", channel="news", message="hello")

    assert alice.messages == [{"type": "message", "channel": "news", "message": "hello"}]
