"""WebSocket frames: pieces change nothing, nothing is kept that need not be, and what we write is
what others read.

What the events are is compared with ``websockets`` in ``tests/protocols``, and by coverage in the
target ``frames``.
"""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ProtocolError as WebSocketProtocolError
from websockets.frames import Close, Frame
from websockets.streams import StreamReader

from snorky.protocols.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameParser,
    ProtocolError,
    encode_close,
    encode_frame,
)
from tests.fuzz.lengths import examples
from tests.fuzz.values import texts
from tests.protocols.test_websocket_frames_against_websockets import (
    CONTINUATION,
    LIMIT,
    frame,
    hostile_streams,
)


def events(stream: bytes, cuts: list[int]) -> tuple[list[Any], int | None]:
    parser = FrameParser(LIMIT)
    seen: list[Any] = []
    places = [0, *sorted({min(cut, len(stream)) for cut in cuts}), len(stream)]
    for start, end in pairwise(places):
        try:
            for event in parser.feed(memoryview(stream)[start:end]):
                seen.append(event)
        except ProtocolError as error:
            return seen, error.code
    return seen, None


@examples(300)
@given(hostile_streams(), st.lists(st.integers(0, 2000), max_size=12))
def test_in_whatever_pieces_the_events_are_the_same(stream: bytes, cuts: list[int]) -> None:
    assert events(stream, cuts) == events(stream, []) == events(stream, list(range(len(stream))))


@examples(150)
@given(hostile_streams(), st.lists(st.binary(max_size=30), max_size=3))
def test_behind_a_fault_or_a_goodbye_nothing_is_read(stream: bytes, more: list[bytes]) -> None:
    parser = FrameParser(LIMIT)
    ended = False
    for piece in [stream, *more]:
        try:
            for kind, _ in parser.feed(piece):
                assert not ended
                ended = kind == CLOSE
        except ProtocolError:
            assert not ended
            ended = True
    if ended:
        assert list(parser.feed(frame(TEXT, b"still there?"))) == []
        assert parser._partial is None
        assert parser._fragments is None


@pytest.mark.parametrize(
    "endless",
    [
        frame(CONTINUATION, b"", final=False),
        frame(CONTINUATION, b"", final=False) + frame(PING, b"x" * 125),
        frame(PONG, b""),
    ],
    ids=["empty fragments", "pings between them", "pongs"],
)
def test_what_never_ends_takes_no_memory(endless: bytes) -> None:
    parser = FrameParser(1 << 20)
    list(parser.feed(frame(TEXT, b"begun", final=False)))
    tracemalloc.start()
    try:
        with suppress(ProtocolError):  # of empty ones not too many are taken
            for _ in range(3000):
                for _event in parser.feed(endless):
                    pass
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20_000


@examples(150)
@given(
    st.sampled_from([TEXT, BINARY, PING, PONG]),
    st.binary(max_size=70) | st.sampled_from([b"x" * n for n in (125, 126, 65535, 65536)]),
)
def test_what_we_write_others_read(opcode: int, payload: bytes) -> None:
    if opcode >= CLOSE and len(payload) > 125:
        with pytest.raises(ValueError, match="125"):
            encode_frame(opcode, payload)
        return
    assert read(encode_frame(opcode, payload)) == (opcode, payload)


@examples(200)
@given(
    st.integers(0, 5100) | st.sampled_from([1000, 1005, 1006, 1015, 3000, 4999, 65535, 65536, -1]),
    texts | st.sampled_from(["é" * 80, "😀" * 40, "\ud83d" * 130]),
)
def test_goodbyes_that_may_be_said_are_read_and_others_refused(code: int, reason: str) -> None:
    try:
        data = encode_close(code, reason)
    except ValueError:
        with pytest.raises((WebSocketProtocolError, OverflowError, struct.error)):
            Close(code, "").check()
        return
    opcode, payload = read(data)
    assert opcode == CLOSE
    close = Close.parse(payload)
    assert close.code == code
    if code != 1005:
        close.check()
        assert reason.encode("utf-8", "replace").decode().startswith(close.reason)


def read(data: bytes) -> tuple[int, bytes]:
    """The one frame in ``data``, as ``websockets`` reads it at a client's side."""
    stream = StreamReader()
    stream.feed_data(data)
    parsing = Frame.parse(stream.read_exact, mask=False, max_size=None)
    with pytest.raises(StopIteration) as ended:
        next(parsing)
    result: Frame = ended.value.value
    return int(result.opcode), bytes(result.data)
