"""Which params fit a command, and what annotations make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import pytest

from snorky.hashable import hashable
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.signatures import InvalidParams, signature_of
from snorky.testing import FakeClient, call

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Point:
    x: int
    y: int = 0


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Board(RPCService):
    @rpc_command
    def plain(self, req: Request, a, b=2):  # type: ignore[no-untyped-def]
        return [a, b]

    @rpc_command
    def keyword_only(self, req: Request, *, a: Any, b: Any = 2) -> Any:
        return [a, b]

    @rpc_command
    def any_name(self, req: Request, a: Any, **more: Any) -> Any:
        return [a, more]

    @rpc_command
    def another_name(this, call: Request, self: Any = None, req: Any = None) -> Any:  # noqa: N805
        return [self, req]

    @rpc_command
    def move(self, req: Request, to: Point, when: datetime | None = None) -> Any:
        return [to.x, to.y, when and when.isoformat()]

    @rpc_command
    def paint(self, req: Request, colour: Colour, mode: Literal["fill", "line"] = "fill") -> Any:
        return [colour.name, mode]

    @rpc_command
    def count(self, req: Request, number: int, text: str = "", ratio: float = 1) -> Any:
        return [number, text, ratio]

    @rpc_command
    def file(self, req: Request, keys: list[list[int]], anything: dict[str, Any]) -> Any:
        return {keys: "found", anything: "found"}[keys]


@pytest.fixture
def board() -> Board:
    return Board("board")


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient()


def process(service: RPCService, client: FakeClient, command: str, params: Any) -> Any:
    service.process_message_from(client, hashable({"command": command, "params": params}))
    return client.received.pop()["message"]


# Fitting


@pytest.mark.parametrize("command", ["plain", "keyword_only"])
def test_params_are_the_arguments_of_the_method(
    board: Board, alice: FakeClient, command: str
) -> None:
    assert call(board, alice, command, a=1) == [1, 2]
    assert call(board, alice, command, b=[3], a=None) == [None, [3]]


def test_a_command_may_take_any_name(board: Board, alice: FakeClient) -> None:
    assert call(board, alice, "any_name", a=1) == [1, {}]
    assert process(board, alice, "any_name", {"a": 1, "command": 2, "": 3})["data"] == [
        1,
        {"command": 2, "": 3},
    ]


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("plain", {}),
        ("plain", {"b": 1}),
        ("plain", {"a": 1, "c": 1}),
        ("plain", {"A": 1}),
        ("plain", {"a": 1, "": 1}),
        ("plain", {"a": 1, "req": 1}),
        ("plain", {"a": 1, "self": 1}),
        ("keyword_only", {"req": 1, "a": 1}),
        ("any_name", {"a": 1, "req": 1}),
        ("any_name", {"a": 1, "self": 1}),
        ("any_name", {}),
        ("another_name", {"call": 1}),
        ("another_name", {"this": 1}),
    ],
)
def test_params_that_do_not_fit_are_refused_with_a_warning(
    board: Board, alice: FakeClient, command: str, params: Any, expect_log: Any
) -> None:
    assert process(board, alice, command, params)["message"] == "Invalid params"
    expect_log('Invalid params in RPC service "board": ' + command)


@pytest.mark.parametrize("params", [None, 1, "a", True, [], ["a"], [["a", 1]]])
def test_params_that_are_no_object_are_refused(
    board: Board, alice: FakeClient, params: Any, expect_log: Any
) -> None:
    assert process(board, alice, "plain", params)["message"] == "Invalid params"
    expect_log("Invalid params")


def test_the_warning_shows_the_call(board: Board, alice: FakeClient, expect_log: Any) -> None:
    process(board, alice, "plain", {"c": "größer\n", "b": 1})

    line = expect_log("Invalid params").getMessage()
    assert line == 'Invalid params in RPC service "board": plain({"b": 1, "c": "größer\\n"})'


def test_a_client_that_sends_bad_params_on_and_on_does_not_fill_the_log(
    board: Board, alice: FakeClient, expect_log: Any
) -> None:
    for _ in range(150):
        assert process(board, alice, "plain", {})["message"] == "Invalid params"

    assert expect_log.all("Invalid params") == 100
    expect_log("Further lines about client fake are not logged")


def test_names_that_are_not_taken_by_the_method_itself_are_free(
    board: Board, alice: FakeClient
) -> None:
    assert process(board, alice, "another_name", {"self": 1, "req": 2})["data"] == [1, 2]


def test_a_type_error_inside_the_command_is_no_fault_of_the_params(
    alice: FakeClient, expect_log: Any
) -> None:
    class Faulty(RPCService):
        @rpc_command
        def add(self, req: Request, a: Any) -> Any:
            return a + "1"

    assert process(Faulty("faulty"), alice, "add", {"a": 1})["message"] == "Internal error"
    expect_log("Unhandled exception")


# Annotations


def test_params_are_converted_to_what_they_are_annotated_with(
    board: Board, alice: FakeClient
) -> None:
    assert call(board, alice, "move", to={"x": 1}) == [1, 0, None]
    when = datetime(2030, 1, 2, 3, tzinfo=UTC)
    assert call(board, alice, "move", to={"x": 1, "y": 2}, when=when.isoformat()) == [
        1,
        2,
        when.isoformat(),
    ]
    assert call(board, alice, "paint", colour="blue", mode="line") == ["BLUE", "line"]
    assert call(board, alice, "count", number=1, text="a", ratio=2) == [1, "a", 2.0]


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("count", {"number": "1"}),
        ("count", {"number": 1.5}),
        ("count", {"number": True}),
        ("count", {"number": None}),
        ("count", {"number": 1, "text": 2}),
        ("count", {"number": 1, "ratio": "2"}),
        ("move", {"to": [1, 2]}),
        ("move", {"to": {"y": 1}}),
        ("move", {"to": {"x": "1"}}),
        ("move", {"to": {"x": 1}, "when": "yesterday"}),
        ("paint", {"colour": "green"}),
        ("paint", {"colour": "red", "mode": "dots"}),
        ("file", {"keys": [["1"]], "anything": {}}),
    ],
)
def test_params_that_are_no_such_value_are_refused(
    board: Board, alice: FakeClient, command: str, params: Any, expect_log: Any
) -> None:
    assert process(board, alice, command, params)["message"] == "Invalid params"
    expect_log("Invalid params")


def test_annotated_lists_and_objects_are_keys_too(board: Board, alice: FakeClient) -> None:
    assert call(board, alice, "file", keys=[[1], [2]], anything={"a": [{}]}) == "found"


def test_annotations_that_say_nothing_take_everything(alice: FakeClient) -> None:
    class Loose(RPCService):
        @rpc_command
        def any(self, req: Request, a: Any, b: object, c: Any) -> Any:
            return [a, b, c]

    assert call(Loose("loose"), alice, "any", a=1, b=[None], c={}) == [1, [None], {}]


def test_the_annotations_of_request_and_result_need_not_exist_at_run_time(
    alice: FakeClient,
) -> None:
    class Typed(RPCService):
        @rpc_command
        def same(self, req: Unknown, a: int) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
            return a

    assert call(Typed("typed"), alice, "same", a=1) == 1


def unresolved(self: Any, req: Any, price: Decimal) -> None: ...


def ambiguous(self: Any, req: Any, place: dict[str, int] | Point) -> None: ...


def positional(self: Any, req: Any, a: int, /) -> None: ...


def no_request(self: Any) -> None: ...


def request_by_keyword(self: Any, *, req: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (unresolved, "price of unresolved cannot be resolved: name 'Decimal'"),
        (ambiguous, "place of ambiguous cannot be checked"),
        (positional, "a of positional cannot be given by name"),
        (no_request, "first parameter of a command is its request; no_request has none"),
        (request_by_keyword, "its request; request_by_keyword has none"),
    ],
)
def test_a_signature_that_no_call_could_fit_shows_when_the_service_is_made(
    function: Callable[..., Any], fault: str
) -> None:
    class Faulty(RPCService):
        command = rpc_command(function)

    with pytest.raises(TypeError, match=fault):
        Faulty("faulty")


def test_a_refusal_says_what_did_not_fit() -> None:
    signature = signature_of(Board.count, 1)

    for params, text in [
        ({}, "missing: number"),
        ({"number": 1, "size": 2}, "not expected: size"),
        ({"number": "1"}, "number: Expected `int`, got `str`"),
        ([], "expected an object, got list"),
    ]:
        with pytest.raises(InvalidParams) as refused:
            signature.fit(params)
        assert str(refused.value) == text


def test_params_that_fit_are_not_copied_where_nothing_is_converted() -> None:
    params = {"a": 1}

    assert signature_of(Board.plain, 1).fit(params) is params


def test_a_test_call_reports_params_that_do_not_fit(
    board: Board, alice: FakeClient, expect_log: Any
) -> None:
    with pytest.raises(RPCError, match="Invalid params"):
        call(board, alice, "plain")
    expect_log("Invalid params")
