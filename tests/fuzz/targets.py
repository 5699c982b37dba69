"""What is fuzzed by coverage too: each takes bytes, and asserts what must hold whatever they are.

``python -m tests.fuzz`` searches for bytes that break one; ``test_corpus.py`` replays those that
were kept.
"""

# ruff: noqa: PT017  # whether something raises is what is asked here
from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from snorky.filters import BadQuery, compile_filter
from snorky.identity import Refused, origin_allowed
from snorky.identity.jwt import JWTAuthenticator
from snorky.protocols import comet, sockjs
from snorky.protocols.websocket_frames import FrameParser, ProtocolError
from snorky.wire import MalformedMessage, canonical, decode, encode
from tests.fuzz import heads
from tests.fuzz.origins import check_origin
from tests.fuzz.packets import check_packet
from tests.fuzz.values import same
from tests.identity.tokens import AUDIENCE, SECRET
from tests.protocols.test_websocket_frames_against_websockets import LIMIT, assert_same

TARGETS: dict[str, Callable[[bytes], None]] = {}


def target(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    TARGETS[function.__name__] = function
    return function


# JSON


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is more than a number can be")
    return number


def check_decoding(text: str | bytes) -> None:
    """``decode`` reads what the standard library reads, and as that, and refuses the rest."""
    try:
        plain = (text.encode() if isinstance(text, str) else text).decode()
        expected, known = json.loads(plain, parse_constant=_refuse, parse_float=_finite), True
    except RecursionError:
        return  # each stops somewhere else
    except ValueError:
        expected, known = None, False
    try:
        value = decode(text)
    except MalformedMessage as error:
        assert str(error)
        # Numbers of more digits than it cares for, and depth, are refused by msgspec earlier.
        too_much = "out of range" in str(error) or "nested" in str(error)
        assert not known or too_much, f"refused: {error}"
        return
    assert known, f"read as {value!r}"
    assert same(value, expected)
    assert same(json.loads(canonical(value)), expected)
    assert same(decode(encode(value)), expected)


@target
def wire(data: bytes) -> None:
    check_decoding(data)
    check_decoding(data.decode("utf-8", "replace"))


# WebSocket frames


@target
def frames(data: bytes) -> None:
    """The first bytes say in what pieces the others come: that changes nothing."""
    sizes, stream = [1 + byte for byte in data[:3]], data[3:]
    if sizes:
        assert_same(stream, sizes)
        _check_bounded(stream, sizes)


def _check_bounded(stream: bytes, sizes: list[int]) -> None:
    parser = FrameParser(LIMIT)
    place = number = 0
    while place < len(stream):
        piece = stream[place : place + sizes[number % len(sizes)]]
        place += len(piece)
        number += 1
        try:
            for _ in parser.feed(piece):
                pass
        except ProtocolError:
            break
        partial, fragments = len(parser._partial or b""), len(parser._fragments or b"")
        assert fragments <= LIMIT
        assert partial < LIMIT + 14 + len(piece)


# Requests for a WebSocket


@target
def head(data: bytes) -> None:
    heads.check_head(data)


# Engine.IO and Socket.IO


@target
def packets(data: bytes) -> None:
    check_packet(data)


# What SockJS and Comet send


@target
def payload(data: bytes) -> None:
    try:
        messages = sockjs.messages_in(data)
    except sockjs.BadPayload:
        value = _json_or_nothing(data)
        assert not isinstance(value, str), "one message, refused"
        if isinstance(value, list):
            assert not all(isinstance(item, str) for item in value), "messages, refused"
        return
    value = json.loads(data)
    assert messages == ([value] if isinstance(value, str) else value)
    for text in messages:
        quoted = sockjs.quoted(text.encode("utf-8", "surrogatepass"))
        assert json.loads(quoted) == text
        chunk = sockjs.script_chunk(b"a[" + quoted + b"]")
        assert chunk.count(b"<") == 2, "a message ends the script"


@target
def batch(data: bytes) -> None:
    try:
        read = comet.batch_in(data)
    except comet.BadRequest as error:
        assert str(error).isprintable()
        assert str(error)
        return
    value = json.loads(data)
    assert (read.first, read.after) == (value["first"], value.get("after"))
    assert read.messages == value["messages"]
    assert 1 <= read.first < 10**15
    assert read.after is None or 0 <= read.after < 10**15
    assert len(read.messages) <= comet.MAX_MESSAGES_PER_REQUEST


@target
def position(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    digits = re.fullmatch("[0-9]{1,15}", text) is not None
    try:
        assert comet.position_in(text) == int(text)
        assert digits
    except comet.BadRequest:
        assert not digits


def _json_or_nothing(data: bytes) -> Any:
    try:
        return decode(data)
    except MalformedMessage:
        return None


# Filters


@target
def filters(data: bytes) -> None:
    """A row on the first line, a filter on the second."""
    row, query = (_json_or_nothing(line) for line in (data + b"\n").split(b"\n", 2)[:2])
    try:
        matches = compile_filter(query)
    except BadQuery as error:
        assert str(error)
        assert len(str(error)) < 600
        return
    negated = compile_filter(["and", ["not", query]]) if _can_grow(query) else None
    assert matches(row) in (True, False)
    if negated is not None:
        assert negated(row) is not matches(row)


def _can_grow(query: Any) -> bool:
    try:
        compile_filter(["and", ["not", query]])
    except BadQuery:
        return False
    return True


# Identity

_GOOD_FOR_EVER = JWTAuthenticator(SECRET, algorithms=["HS256"], audience=AUDIENCE)


@target
def token(data: bytes) -> None:
    """Nobody finds a signature by trying."""
    try:
        _GOOD_FOR_EVER.verify(data.decode("latin-1"))
    except Refused as refused:
        assert refused.status == 401
        assert refused.reason in ("Invalid token", "Token expired")
    else:
        raise AssertionError("a token that nobody signed")


@target
def origin(data: bytes) -> None:
    """An Origin on the first line, a Host on the second."""
    page, _, host = data.decode("latin-1").partition("\n")
    check_origin(page, host)
    origin_allowed(page, host, ["https://listed.example"])
