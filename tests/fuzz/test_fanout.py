"""The C extension with connections that are anything, beside the same rules in Python.

``python -m tests.fuzz.sanitized`` runs this under the address and undefined behaviour sanitizers.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snorky import fanout
from tests.fuzz.lengths import examples

pytestmark = pytest.mark.skipif(not fanout.IN_C, reason="the extension is not used")
if fanout.IN_C:
    from snorky._fanout import send_to_all


AHEAD = 8
"""As in the extension."""


class Odd(Exception):
    pass


class Falsehood:
    """Not even a truth value."""

    def __bool__(self) -> bool:
        raise Odd


class Transport:
    def __init__(self, size: Any, closing: Any) -> None:
        self._size = size
        self._closing = closing

    def get_write_buffer_size(self) -> Any:
        return _given(self._size)

    def is_closing(self) -> Any:
        return _given(self._closing)


class Connection:
    """``descriptor`` is the socket's where it is True, and as it is where it is anything else."""

    def __init__(self, sock: socket.socket, plan: dict[str, Any]) -> None:
        self._sock = sock
        self._plan = dict(plan)

    def __getattr__(self, name: str) -> Any:
        plan = self.__dict__["_plan"]
        if name not in plan:
            raise AttributeError(name)
        if name == "descriptor" and plan[name] is True:
            return self._sock.fileno()
        return _given(plan[name])

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "may_wait":
            if self._plan.get("locked"):
                raise Odd
            self._plan[name] = value
        else:
            super().__setattr__(name, value)


def _given(value: Any) -> Any:
    if value is Odd:
        raise Odd
    return value


def takes_bytes(connection: Any) -> bool:
    """The rules of the extension: whether it writes to the socket itself."""
    descriptor = connection.descriptor
    if not hasattr(type(descriptor), "__index__"):
        raise TypeError
    if abs(descriptor) >= 1 << 63:
        raise OverflowError
    if descriptor < 0 or connection.closing:
        return False
    transport = connection.transport
    if connection.may_wait:
        if transport.get_write_buffer_size():
            return False
        connection.may_wait = False
    return not transport.is_closing()


truths: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.sampled_from([None, 0, 1, "", "x", [], 1.5]),
    st.builds(Falsehood),
    st.just(Odd),
)
usual = st.fixed_dictionaries(
    {
        "descriptor": st.just(True),
        "closing": st.just(False),
        "transport": st.builds(Transport, st.just(0), st.just(False)),
        "may_wait": st.booleans(),
    }
)
odd = st.fixed_dictionaries(
    {},
    optional={
        "descriptor": st.sampled_from([True, True, True, -1, -(2**31), None, "1", 1.5, Odd, 2**80]),
        "closing": truths,
        "transport": st.one_of(st.builds(Transport, truths, truths), st.sampled_from([None, Odd])),
        "may_wait": truths,
        "locked": st.booleans(),
    },
)
plans = st.lists(usual | usual | usual | odd, max_size=40)


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (Odd, AttributeError, TypeError, OverflowError) as error:
        return type(error)


def sent_in_python(connections: list[Any]) -> Any:
    takers = []
    for number, connection in enumerate(connections):
        for far in connections[number + AHEAD : number + AHEAD + 1]:
            _ = far.transport  # asked for early
        takers.append(takes_bytes(connection))
    return takers


def in_containers(connections: list[Any], kind: str) -> Any:
    def one_by_one() -> Iterator[Any]:
        yield from connections

    containers: dict[str, Any] = {"list": list, "tuple": tuple, "iterator": lambda _: one_by_one()}
    return containers[kind](connections)


@examples(300)
@given(
    plans, st.sampled_from([b"", b"x", b"y" * 5000]), st.sampled_from(["list", "tuple", "iterator"])
)
def test_bytes_go_where_the_rules_say_and_nowhere_else(
    many: list[dict[str, Any]], data: bytes, kind: str
) -> None:
    pairs = [socket.socketpair() for _ in many]
    try:
        ours = [ours for ours, _ in pairs]
        expected = outcome(sent_in_python, list(map(Connection, ours, many)))
        connections = list(map(Connection, ours, many))
        left = outcome(send_to_all, in_containers(connections, kind), data)
        received = []
        for _, theirs in pairs:
            theirs.setblocking(False)
            received.append(b"")
            with suppress(BlockingIOError):
                while piece := theirs.recv(1 << 16):
                    received[-1] += piece
        if isinstance(expected, type):
            assert isinstance(left, type), f"expected {expected}, got {left}"
            assert not any(received), "written before it was known that all can be asked"
            return
        assert received == [data if taken else b"" for taken in expected]
        if data:
            short = [c for c, taken in zip(connections, expected, strict=True) if not taken]
            assert [connection for connection, _ in left] == short
            assert all(sent == 0 for _, sent in left)
    finally:
        for pair in pairs:
            for sock in pair:
                sock.close()


@examples(100)
@given(st.integers(0, 300_000), st.integers(0, 3), st.booleans())
def test_what_a_socket_did_not_take_is_said(size: int, closed: int, full: bool) -> None:
    pairs = [socket.socketpair() for _ in range(4)]
    try:
        plan: dict[str, Any] = {"descriptor": True, "closing": False, "may_wait": False}
        plan["transport"] = Transport(0, False)
        for _, theirs in pairs[:closed]:
            theirs.close()
        for ours, _ in pairs:
            ours.setblocking(False)
            with suppress(OSError):
                while full:
                    ours.send(bytes(100_000))
        data = b"z" * size
        connections: list[Any] = [Connection(ours, plan) for ours, _ in pairs]
        left: list[tuple[Any, int]] = send_to_all(connections, data)
        by_socket = {connection._sock: sent for connection, sent in left}
        for number, (ours, theirs) in enumerate(pairs):
            sent = by_socket.get(ours, size)
            assert 0 <= sent <= size
            if number < closed:
                assert sent == 0
                continue
            received = b""
            theirs.setblocking(False)
            with suppress(BlockingIOError):
                while piece := theirs.recv(1 << 20):
                    received += piece
            assert received.count(b"z") == sent
    finally:
        for pair in pairs:
            for sock in pair:
                sock.close()


@pytest.mark.parametrize(
    "arguments", [(), ([],), ([], "text"), (1, b""), (None, b""), ([], b"", 1)]
)
def test_other_arguments_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        send_to_all(*arguments)
