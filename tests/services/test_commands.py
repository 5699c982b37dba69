"""What makes a method a command, and how subclasses inherit, extend and replace commands."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from snorky.services.base import Request, RPCError, RPCService, rpc_asynchronous, rpc_command
from snorky.testing import FakeClient, call


class Greeter(RPCService):
    @rpc_command
    def greet(self, req: Request, name: Any = "you") -> Any:
        return f"Hello, {name}"

    @rpc_command
    def part(self, req: Request) -> Any:
        return "Goodbye"


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient()


def test_the_names_of_the_commands_are_known() -> None:
    assert set(Greeter.rpc_commands) == {"greet", "part"}
    assert set(Greeter("greeter").rpc_commands) == {"greet", "part"}
    assert set(RPCService("nothing").rpc_commands) == set()


@pytest.mark.parametrize("decorator", [rpc_command, rpc_asynchronous])
def test_a_decorator_returns_the_plain_function(decorator: Callable[..., Any]) -> None:
    def function(self: Any, req: Any) -> str:
        return "called"

    assert decorator(function) is function


def test_a_command_is_still_a_method() -> None:
    assert Greeter("greeter").greet(None, "Alice") == "Hello, Alice"  # type: ignore[arg-type]


def test_subclasses_inherit_and_extend_the_commands(alice: FakeClient) -> None:
    class Polite(Greeter):
        @rpc_command
        def thank(self, req: Request) -> str:
            return "Thanks"

    assert set(Polite.rpc_commands) == {"greet", "part", "thank"}
    assert set(Greeter.rpc_commands) == {"greet", "part"}
    assert call(Polite("polite"), alice, "thank") == "Thanks"
    assert call(Polite("polite"), alice, "greet") == "Hello, you"


def test_an_override_without_the_decorator_stays_a_command(alice: FakeClient) -> None:
    class Loud(Greeter):
        def greet(self, req: Request, name: Any = "you") -> Any:
            return super().greet(req, name).upper()

    assert call(Loud("loud"), alice, "greet", name="Bob") == "HELLO, BOB"


def test_an_override_has_its_own_parameters(alice: FakeClient, expect_log: Any) -> None:
    class Formal(Greeter):
        def greet(self, req: Request, surname: Any) -> Any:  # type: ignore[override]
            return f"Good morning, {surname}"

    formal = Formal("formal")
    assert call(formal, alice, "greet", surname="Smith") == "Good morning, Smith"
    with pytest.raises(RPCError, match=r"^Invalid params$"):
        call(formal, alice, "greet")
    expect_log("Invalid params")


@pytest.mark.parametrize("kind", [set, frozenset, list, tuple])
def test_commands_may_be_named_in_a_plain_class_attribute(
    alice: FakeClient, kind: Callable[..., Any]
) -> None:
    class Listed(Greeter):
        rpc_commands = kind(["shout"])

        def shout(self, req: Request) -> str:
            return "HEY"

        def whisper(self, req: Request) -> str:
            return "psst"

    class Whispering(Listed):
        rpc_commands = kind(["whisper"])

    service = Whispering("listed")
    assert set(service.rpc_commands) == {"greet", "part", "shout", "whisper"}
    assert call(service, alice, "shout") == "HEY"
    assert call(service, alice, "whisper") == "psst"
    assert call(service, alice, "greet") == "Hello, you"


def test_commands_may_be_named_after_the_class_was_made(alice: FakeClient) -> None:
    class Plain(RPCService):
        def shout(self, req: Request) -> str:
            return "HEY"

    Plain.rpc_commands = {"shout"}

    assert call(Plain("plain"), alice, "shout") == "HEY"


def test_a_mixin_that_is_no_service_brings_its_commands(alice: FakeClient) -> None:
    class Timed:
        rpc_commands = ("now",)

        @rpc_command
        def today(self, req: Request) -> str:
            return "Monday"

        def now(self, req: Request) -> str:
            return "noon"

    class TimedGreeter(Timed, Greeter):  # type: ignore[misc]  # the names may be any iterable
        pass

    service = TimedGreeter("timed")
    assert set(service.rpc_commands) == {"greet", "part", "today", "now"}
    assert [call(service, alice, name) for name in ("today", "now", "part")] == [
        "Monday",
        "noon",
        "Goodbye",
    ]


def test_a_service_may_add_a_command_to_itself(alice: FakeClient) -> None:
    class Own(Greeter):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.rpc_commands = {*self.rpc_commands, "ping"}
            self.ping = lambda req, value=None: ["pong", value]

    assert call(Own("own"), alice, "ping", value=1) == ["pong", 1]
    with pytest.raises(RPCError, match="Unknown command"):
        call(Greeter("other"), alice, "ping")


def test_a_command_that_a_subclass_sets_to_none_is_gone(alice: FakeClient) -> None:
    class Curt(Greeter):
        part = None  # type: ignore[assignment]

    curt = Curt("curt")
    assert call(curt, alice, "greet") == "Hello, you"
    with pytest.raises(RPCError, match=r"^Unknown command$"):
        call(curt, alice, "part")


def test_a_named_command_without_a_method_is_unknown(alice: FakeClient) -> None:
    class Promising(RPCService):
        rpc_commands = {"someday"}

    with pytest.raises(RPCError, match=r"^Unknown command$"):
        call(Promising("promising"), alice, "someday")


def test_a_decorator_of_the_users_own_may_stand_on_either_side(
    alice: FakeClient, expect_log: Any
) -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return ["logged", function(*args, **kwargs)]

        return wrapper

    class Wrapped(RPCService):
        @rpc_command
        @logged
        def outside(self, req: Request, a: Any, b: Any = 2) -> Any:
            return [a, b]

        @logged
        @rpc_command
        def inside(self, req: Request, a: Any, b: Any = 2) -> Any:
            return [a, b]

    service = Wrapped("wrapped")
    assert set(service.rpc_commands) == {"outside", "inside"}
    for command in ("outside", "inside"):
        assert call(service, alice, command, a=1) == ["logged", [1, 2]]
        with pytest.raises(RPCError, match="Invalid params"):
            call(service, alice, command, c=1)
        expect_log("Invalid params")


def test_a_command_without_a_request_shows_when_the_service_is_made() -> None:
    class Faulty(RPCService):
        @rpc_command
        def nothing(self) -> None: ...

    with pytest.raises(
        TypeError, match=r"the first parameter of a command is its request; .*nothing"
    ):
        Faulty("faulty")
