"""Services and their commands: what is called, answered and logged."""

import logging
import math
from typing import Any

import pytest

from snorky.hashable import hashable
from snorky.metrics import metrics
from snorky.services.base import (
    Request,
    RPCError,
    RPCService,
    Service,
    rpc_asynchronous,
    rpc_command,
)
from snorky.testing import FakeClient

NAME = "calculator"


class Calculator(RPCService):
    """The manual's calculator, and a few commands that misbehave."""

    @rpc_command
    def sum(self, req: Request, number1, number2):  # type: ignore[no-untyped-def]
        return number1 + number2

    @rpc_command
    def log(self, req: Request, number, base=2.718):  # type: ignore[no-untyped-def]
        if number <= 0:
            raise RPCError("Math domain error")
        return math.log(number, base)

    @rpc_command
    def nothing(self, req: Request) -> None:
        """Returns nothing."""

    @rpc_command
    def echo(self, req: Request, **values: Any) -> Any:
        return values

    @rpc_command
    def refuse(self, req: Request, text: Any = None) -> None:
        raise RPCError() if text is None else RPCError(text)

    @rpc_command
    def crash(self, req: Request) -> None:
        raise ZeroDivisionError("out of order")

    @rpc_command
    def unspeakable(self, req: Request) -> Any:
        return object()

    @rpc_command
    def answer_by_hand(self, req: Request, text: str, *, fail: bool = False) -> None:
        if fail:
            req.error(text)
        else:
            req.reply(text)

    @rpc_command
    def answer_then_crash(self, req: Request) -> None:
        req.reply("done")
        raise ZeroDivisionError("too late")

    @rpc_command
    def answer_twice(self, req: Request) -> None:
        req.reply(1)
        req.error("again")

    def no_command(self, req: Request) -> str:
        return "secret"


@pytest.fixture
def calculator() -> Calculator:
    return Calculator(NAME)


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient(identity="alice")


def answers(service: Service, client: FakeClient, message: Any) -> list[Any]:
    """What the client receives when it sends ``message``."""
    before = len(client.received)
    service.process_message_from(client, hashable(message))
    envelopes = client.received[before:]
    assert all(envelope["service"] == service.name for envelope in envelopes)
    return [envelope["message"] for envelope in envelopes]


def answer(service: Service, client: FakeClient, command: Any, **params: Any) -> Any:
    """The one answer to a call with callId 7."""
    message = {"command": command, "params": params, "callId": 7}
    (only,) = answers(service, client, message)
    return only


def ok(data: Any) -> dict[str, Any]:
    return {"type": "response", "callId": 7, "data": data}


def error(text: str) -> dict[str, Any]:
    return {"type": "error", "callId": 7, "message": text}


# Services


def test_a_service_has_a_name_and_must_say_what_it_does_with_messages(alice: FakeClient) -> None:
    service = Service("plain")

    assert service.name == "plain"
    service.client_connected(alice)
    service.client_disconnected(alice)
    with pytest.raises(NotImplementedError, match="Service must override process_message_from"):
        service.process_message_from(alice, "hello")


@pytest.mark.parametrize("message", [None, 0, "größer", [1], {"type": "message"}])
def test_messages_travel_in_the_envelope_of_their_service(alice: FakeClient, message: Any) -> None:
    Service("echo").send_message_to(alice, message)

    assert alice.received == [{"service": "echo", "message": message}]


def test_a_broadcast_is_encoded_once() -> None:
    received = []

    class Peer:
        def send(self, msg: Any) -> None:
            received.append(msg)

    Service("echo").broadcast({Peer(), Peer()}, "hello")

    assert received == [{"service": "echo", "message": "hello"}] * 2
    assert received[0] is received[1]


def test_a_broadcast_goes_over_a_set_that_changes_meanwhile() -> None:
    clients = set()

    class Leaving:
        def __init__(self) -> None:
            self.received: list[Any] = []

        def send(self, msg: Any) -> None:
            self.received.append(msg)
            clients.discard(self)

    both = {Leaving(), Leaving()}
    clients |= both
    Service("echo").broadcast(clients, "bye")

    assert [len(client.received) for client in both] == [1, 1]
    assert clients == set()


# Calls and their answers


def test_a_returned_value_is_the_reply(calculator: Calculator, alice: FakeClient) -> None:
    assert answer(calculator, alice, "sum", number1=5, number2=10) == ok(15)


def test_a_default_may_be_left_out_or_given(calculator: Calculator, alice: FakeClient) -> None:
    assert answer(calculator, alice, "log", number=2.718) == ok(1.0)
    assert answer(calculator, alice, "log", number=8, base=2) == ok(3.0)


def test_a_command_that_returns_nothing_replies_null(
    calculator: Calculator, alice: FakeClient
) -> None:
    assert answer(calculator, alice, "nothing") == ok(None)


@pytest.mark.parametrize(
    "call_id", [0, 1, -1, 2**70, 1.5, "a", "", True, False, [], [1, {"a": 2}], {}]
)
def test_the_call_id_is_any_json_value_and_comes_back_unchanged(
    calculator: Calculator, alice: FakeClient, call_id: Any
) -> None:
    call = {"params": {}, "callId": call_id}

    (reply,) = answers(calculator, alice, {"command": "nothing", **call})
    (refusal,) = answers(calculator, alice, {"command": "refuse", **call})
    assert reply == {"type": "response", "callId": call_id, "data": None}
    assert refusal == {"type": "error", "callId": call_id, "message": "Exception"}
    assert type(reply["callId"]) is type(call_id)


@pytest.mark.parametrize("call_id", [{}, {"callId": None}])
def test_without_a_call_id_a_reply_has_no_such_key_and_an_error_has_null(
    calculator: Calculator, alice: FakeClient, call_id: dict[str, Any]
) -> None:
    call = {"params": {}, **call_id}

    assert answers(calculator, alice, {"command": "nothing", **call}) == [
        {"type": "response", "data": None}
    ]
    assert answers(calculator, alice, {"command": "refuse", **call}) == [
        {"type": "error", "callId": None, "message": "Exception"}
    ]


def test_params_are_hashable_all_the_way_down(alice: FakeClient) -> None:
    class Keys(RPCService):
        @rpc_command
        def file(self, req: Request, key: Any) -> Any:
            return [{key: "found"}[key], isinstance(key, list | dict)]

    service = Keys("keys")
    for key in ([1, [2]], {"a": [{"b": 1}]}):
        assert answer(service, alice, "file", key=key) == ok(["found", True])


@pytest.mark.parametrize(
    "message",
    [
        None,
        1,
        "sum",
        [],
        ["command", "params"],
        {},
        {"command": "sum"},
        {"params": {}},
        {"comand": "sum", "params": {}},
    ],
)
def test_a_message_that_lacks_command_or_params_is_dropped_with_a_warning(
    calculator: Calculator, alice: FakeClient, message: Any, expect_log: Any
) -> None:
    assert answers(calculator, alice, message) == []
    line = expect_log("Invalid format", level=logging.WARNING).getMessage()
    assert line == f'Invalid format in RPC service "calculator". Message: {message}'


@pytest.mark.parametrize(
    "command", ["no_command", "process_request", "__init__", "name", "", "Sum", "tasks", "limits"]
)
def test_only_commands_can_be_called(
    calculator: Calculator, alice: FakeClient, command: str
) -> None:
    assert answer(calculator, alice, command) == error("Unknown command")


@pytest.mark.parametrize("command", [None, 1, True, ["sum"], {"sum": 1}])
def test_a_command_that_is_no_text_is_unknown(
    calculator: Calculator, alice: FakeClient, command: Any
) -> None:
    assert answer(calculator, alice, command) == error("Unknown command")


def test_rpc_errors_go_to_the_client_and_to_the_log_at_info(
    calculator: Calculator, alice: FakeClient, expect_log: Any
) -> None:
    assert answer(calculator, alice, "log", number=0) == error("Math domain error")
    line = expect_log("Math domain error", level=logging.INFO).getMessage()
    assert line == "Math domain error in RPC service \"calculator\", call: log {'number': 0}"


@pytest.mark.parametrize(("text", "sent"), [("", "Exception"), ("größer", "größer"), (404, "404")])
def test_the_text_of_an_rpc_error_is_what_is_sent(
    calculator: Calculator, alice: FakeClient, text: Any, sent: str
) -> None:
    assert answer(calculator, alice, "refuse", text=text) == error(sent)


def test_an_unexpected_exception_is_logged_and_tells_the_client_nothing(
    calculator: Calculator, alice: FakeClient, expect_log: Any
) -> None:
    assert answer(calculator, alice, "crash") == error("Internal error")
    record = expect_log("Unhandled exception", level=logging.ERROR)
    assert record.getMessage() == 'Unhandled exception in RPC service "calculator": crash({})'
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_a_value_that_cannot_be_encoded_is_an_internal_error(
    calculator: Calculator, alice: FakeClient, expect_log: Any
) -> None:
    assert answer(calculator, alice, "unspeakable") == error("Internal error")
    expect_log("Unhandled exception")


# Commands that answer by hand


def test_a_command_may_answer_by_itself(calculator: Calculator, alice: FakeClient) -> None:
    assert answer(calculator, alice, "answer_by_hand", text="done") == ok("done")
    assert answer(calculator, alice, "answer_by_hand", text="no", fail=True) == error("no")


def test_an_exception_after_the_answer_is_only_logged(
    calculator: Calculator, alice: FakeClient, expect_log: Any
) -> None:
    assert answer(calculator, alice, "answer_then_crash") == ok("done")
    assert "too late" in str(expect_log("Unhandled exception").exc_info[1])


def test_the_second_answer_raises_and_is_not_sent(
    calculator: Calculator, alice: FakeClient, expect_log: Any
) -> None:
    assert answer(calculator, alice, "answer_twice") == ok(1)
    fault = expect_log("Unhandled exception").exc_info[1]
    assert isinstance(fault, RuntimeError)
    assert str(fault) == "This request has already been resolved"


class Later(RPCService):
    """Keeps the requests of ``wait`` and ``linger``, whose decorators stand in either order."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.waiting: list[Request] = []

    @rpc_command
    @rpc_asynchronous
    def wait(self, req: Request) -> None:
        self.waiting.append(req)

    @rpc_asynchronous
    @rpc_command
    def linger(self, req: Request, *, now: Any = None) -> Any:
        self.waiting.append(req)
        return now


@pytest.mark.parametrize("command", ["wait", "linger"])
def test_an_asynchronous_command_answers_later(alice: FakeClient, command: str) -> None:
    later = Later("later")
    assert answers(later, alice, {"command": command, "params": {}, "callId": 7}) == []

    later.waiting[0].reply("at last")

    assert alice.received == [{"service": "later", "message": ok("at last")}]


def test_what_an_asynchronous_command_returns_is_the_reply_all_the_same(alice: FakeClient) -> None:
    assert answer(Later("later"), alice, "linger", now=0) == ok(0)


def test_calls_refusals_and_crashes_are_counted(
    calculator: Calculator, alice: FakeClient, expect_log: Any
) -> None:
    before = (metrics.rpc_calls, metrics.rpc_errors, metrics.rpc_exceptions)
    for command in ("nothing", "refuse", "crash", "stranger"):
        answer(calculator, alice, command)

    after = (metrics.rpc_calls, metrics.rpc_errors, metrics.rpc_exceptions)
    assert [now - then for now, then in zip(after, before, strict=True)] == [4, 3, 1]
    expect_log("Unhandled exception")
