"""One call: its parts, its one answer, and how it is shown."""

from typing import Any

import pytest

from snorky.hashable import hashable
from snorky.services.base import (
    InvalidMessage,
    Request,
    RPCError,
    RPCService,
    Service,
    format_call,
    rpc_command,
)
from snorky.testing import FakeClient


class Calculator(RPCService):
    @rpc_command
    def sum(self, req: Request, number1: Any, number2: Any) -> Any:
        return number1 + number2

    @rpc_command
    def refuse(self, req: Request) -> None:
        raise RPCError

    @rpc_command
    def crash(self, req: Request) -> None:
        raise ZeroDivisionError("out of order")


@pytest.fixture
def calculator() -> Calculator:
    return Calculator("calculator")


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient(identity="alice")


@pytest.mark.parametrize("first", ["reply", "error"])
@pytest.mark.parametrize("second", ["reply", "error"])
def test_a_request_is_resolved_once(alice: FakeClient, first: str, second: str) -> None:
    request = Request(Service("any"), alice, {"command": "a", "params": {}})
    assert request.resolved is False

    getattr(request, first)("one")

    assert request.resolved is True
    with pytest.raises(RuntimeError, match=r"^This request has already been resolved$"):
        getattr(request, second)("two")
    assert len(alice.received) == 1


def test_a_reply_that_cannot_be_encoded_leaves_the_request_open(alice: FakeClient) -> None:
    request = Request(Service("any"), alice, {"command": "a", "params": {}})

    with pytest.raises(TypeError):
        request.reply(object())
    request.error("Internal error")

    assert [envelope["message"]["type"] for envelope in alice.received] == ["error"]


def test_a_request_has_the_parts_of_its_call(calculator: Calculator, alice: FakeClient) -> None:
    request = Request(
        calculator, alice, {"command": "sum", "params": {"b": 2, "a": 1}, "callId": 3, "more": 4}
    )

    assert (request.service, request.client) == (calculator, alice)
    assert (request.command, request.params, request.call_id) == ("sum", {"b": 2, "a": 1}, 3)
    assert (request.resolved, request.debug) == (False, False)
    assert request.format_call() == 'sum({"a": 1, "b": 2})'


@pytest.mark.parametrize("msg", [None, [], "sum", {"command": "sum"}, {"params": {}}])
def test_what_is_no_call_makes_no_request(
    calculator: Calculator, alice: FakeClient, msg: Any
) -> None:
    with pytest.raises(InvalidMessage):
        Request(calculator, alice, msg)


def test_in_debug_unexpected_exceptions_propagate_and_refusals_do_not(
    calculator: Calculator, alice: FakeClient
) -> None:
    def run(command: str) -> None:
        request = Request(calculator, alice, {"command": command, "params": {}, "callId": 7})
        request.debug = True
        calculator.process_request(request)

    with pytest.raises(ZeroDivisionError):
        run("crash")
    assert alice.received == []
    run("refuse")
    message = {"type": "error", "callId": 7, "message": "Exception"}
    assert alice.received == [{"service": "calculator", "message": message}]


def test_any_object_with_the_attributes_of_a_request_can_be_processed(
    calculator: Calculator,
) -> None:
    class OwnRequest:
        service, client, call_id, resolved, debug = calculator, object(), None, False, True

        def __init__(self, command: str, **params: Any) -> None:
            self.command, self.params = command, params
            self.replies: list[Any] = []
            self.errors: list[str] = []

        def reply(self, data: Any) -> None:
            self.replies.append(data)

        def error(self, message: str) -> None:
            self.errors.append(message)

        def format_call(self) -> str:
            return "own"

    summed, refused = OwnRequest("sum", number1=1, number2=2), OwnRequest("refuse")
    calculator.process_request(summed)
    calculator.process_request(refused)

    assert (summed.replies, summed.errors) == ([3], [])
    assert (refused.replies, refused.errors) == ([], ["Exception"])


# How a call is shown


@pytest.mark.parametrize(
    ("command", "params", "shown"),
    [
        ("sum", {"b": 2, "a": 1}, 'sum({"a": 1, "b": 2})'),
        ("nothing", {}, "nothing({})"),
        ("name", {"name": "größer 😀"}, 'name({"name": "größer 😀"})'),
        ("nest", {"a": [None, True, 1.5]}, 'nest({"a": [null, true, 1.5]})'),
        (None, 1, "None(1)"),
    ],
)
def test_a_call_is_shown_as_one_would_write_it(command: Any, params: Any, shown: str) -> None:
    assert format_call(command, params) == shown
    assert format_call(command, hashable(params)) == shown


def test_a_long_call_is_cut_to_a_hundred_characters() -> None:
    whole = format_call("f", {"a": "x" * (100 - len('f({"a": ""})'))})
    assert len(whole) == 100
    assert whole.endswith('x"})')

    cut = format_call("f", {"a": "x" * 200})
    assert cut == 'f({"a": "' + "x" * 88 + "..."
    assert len(cut) == 100


def test_what_is_no_json_can_be_shown_too() -> None:
    assert format_call("f", {"a": {1, 2}}) == 'f({"a": "{1, 2}"})'
    assert format_call("f", {1: 2, "a": 3}) == "f({1: 2, 'a': 3})"
