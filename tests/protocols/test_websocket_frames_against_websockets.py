"""FrameParser beside the protocol core of `websockets`, on valid and on hostile streams.

Every stream is given to both: to FrameParser in random pieces, to `websockets` byte by byte, which
tells at which byte each of its events is due.
"""

from itertools import cycle
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame
from websockets.protocol import Protocol, Side

from snorky.protocols.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameParser,
    ProtocolError,
)

CONTINUATION = 0
LIMIT = 300  # small, so that random sizes fall on both sides of it
MAX_CONTROL_BYTES = 125

# Completes whatever frame a stream leaves open and then is a fault (an unmasked continuation).
ENDING = bytes(14 + LIMIT + 2)

Event = tuple[int, Any]


class Outcome(NamedTuple):
    events: list[tuple[int, Event]]  # each with the number of bytes after which it was seen
    fault: int | None
    fault_at: int


def ours(stream: bytes, piece_sizes: list[int]) -> Outcome:
    parser = FrameParser(LIMIT)
    events: list[tuple[int, Event]] = []
    fed = 0
    sizes = cycle(piece_sizes)
    while fed < len(stream):
        piece = stream[fed : fed + next(sizes)]
        fed += len(piece)
        try:
            for event in parser.feed(piece):
                if event[0] != CONTINUATION:  # websockets tells nothing of those
                    events.append((fed, event))  # what comes before a fault is kept
        except ProtocolError as error:
            return Outcome(events, error.code, fed)
    return Outcome(events, None, fed)


def theirs(stream: bytes) -> Outcome:
    protocol = Protocol(Side.SERVER, max_size=LIMIT)
    events: list[tuple[int, Event]] = []
    fragments: list[Frame] = []
    frame_start = 0
    for fed, byte in enumerate(stream, 1):
        if fed == frame_start + 1:
            is_control = bool(byte & 0x08)
            # DIFFERENCE: `websockets` counts control frames against what is left of the size of
            # the message around them. To us they are no part of it: each may have 125 bytes.
            left_for_control = MAX_CONTROL_BYTES + (protocol.current_size or 0)
            protocol.max_message_size = left_for_control if is_control else LIMIT
        protocol.receive_data(bytes([byte]))

        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            frame_start = fed
            opcode, data = int(frame.opcode), bytes(frame.data)
            if opcode == CLOSE:
                assert protocol.close_rcvd is not None
                close = int(protocol.close_rcvd.code), protocol.close_rcvd.reason
                events.append((fed, (CLOSE, close)))
                return Outcome(events, None, fed)
            if opcode in (PING, PONG):
                events.append((fed, (opcode, data)))
                continue
            # Joining and decoding is for the users of `websockets`' core to do.
            fragments.append(frame)
            if not frame.fin:
                continue
            message = b"".join(fragment.data for fragment in fragments)
            opcode = int(fragments[0].opcode)
            fragments = []
            if opcode == BINARY:
                events.append((fed, (BINARY, message)))
                continue
            try:
                events.append((fed, (TEXT, message.decode())))
            except UnicodeDecodeError:
                return Outcome(events, 1007, fed)

        if protocol.parser_exc is not None:
            if str(protocol.parser_exc) == "incomplete fragmented message":
                # DIFFERENCE: `websockets` calls a close frame between fragments a fault. RFC 6455,
                # 5.4 allows control frames there, and a page may close at any time.
                assert protocol.close_rcvd is not None
                close = int(protocol.close_rcvd.code), protocol.close_rcvd.reason
                events.append((fed, (CLOSE, close)))
                return Outcome(events, None, fed)
            if isinstance(protocol.parser_exc, PayloadTooBig) and is_control:
                # DIFFERENCE (the first one again): our only limit for control frames is that of
                # the protocol, so to exceed it is a protocol fault.
                return Outcome(events, 1002, fed)
            assert protocol.close_sent is not None
            return Outcome(events, int(protocol.close_sent.code), fed)
    return Outcome(events, None, len(stream))


def assert_same(stream: bytes, piece_sizes: list[int]) -> None:
    stream += ENDING
    ours_seen, theirs_seen = ours(stream, piece_sizes), theirs(stream)

    assert [event for _, event in ours_seen.events] == [event for _, event in theirs_seen.events]
    assert ours_seen.fault == theirs_seen.fault
    # Nothing comes later than in the piece that completes it. (Faults of ours may come earlier:
    # `websockets` reads a payload before it looks at the reserved bits and the rules of fragments.)
    for (our_at, _), (due_at, _) in zip(ours_seen.events, theirs_seen.events, strict=True):
        assert our_at - max(piece_sizes) < due_at
    if ours_seen.fault is not None:
        assert ours_seen.fault_at - max(piece_sizes) < theirs_seen.fault_at


# Streams


def frame(
    opcode: int,
    payload: bytes,
    *,
    final: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    length: int | None = None,
    length_bytes: int = 0,
) -> bytes:
    """A frame as a client would send it, or as it would not."""
    length = len(payload) if length is None else length
    if length > 125:
        length_bytes = max(length_bytes, 2 if length < 1 << 16 else 8)
    short_length = {0: length, 2: 126, 8: 127}[length_bytes]
    header = bytes(
        [0x80 * final | reserved << 4 | opcode, 0x80 * (mask is not None) | short_length]
    )
    header += length.to_bytes(8)[8 - length_bytes :]
    if mask is None:
        return header + payload
    return header + mask + bytes(a ^ b for a, b in zip(payload, cycle(mask), strict=False))


masks = st.binary(min_size=4, max_size=4)
forms_of_length = st.sampled_from([0, 0, 0, 2, 8])  # longer ones than needed too
sizes_of_pieces = st.one_of(
    st.just([10_000]), st.just([1]), st.lists(st.integers(1, 60), min_size=1, max_size=8)
)
texts = st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
not_utf8 = st.sampled_from(
    [b"\xff", b"\xc3\x28", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ends \xe2\x82"]
)
close_codes = st.one_of(
    st.sampled_from([999, *range(1000, 1017), 2999, 3000, 4999, 5000]), st.integers(0, 0xFFFF)
)


@st.composite
def valid_control_frames(draw: st.DrawFn) -> tuple[Event, bytes]:
    opcode = draw(st.sampled_from([PING, PONG]))
    payload = draw(st.binary(max_size=MAX_CONTROL_BYTES))
    data = frame(opcode, payload, mask=draw(masks), length_bytes=draw(forms_of_length))
    return (opcode, payload), data


@st.composite
def valid_messages(draw: st.DrawFn) -> tuple[list[Event], bytes]:
    """The events of a message and of the control frames inside it, and the bytes."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(texts if opcode == TEXT else st.binary(max_size=LIMIT))
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
    events: list[Event] = []
    data = b""
    for start, end in zip([0, *cuts], [*cuts, None], strict=True):
        data += frame(
            opcode if start == 0 and not data else CONTINUATION,
            payload[start:end],
            final=end is None,
            mask=draw(masks),
            length_bytes=draw(forms_of_length),
        )
        if end is not None and draw(st.booleans()):
            event, control = draw(valid_control_frames())
            events.append(event)
            data += control
    events.append((opcode, payload.decode() if opcode == TEXT else payload))
    return events, data


@st.composite
def strange_frames(draw: st.DrawFn) -> bytes:
    """Frames with at least one thing that is rarely or never right."""
    kind = draw(st.sampled_from(["any", "text", "close", "length", "fragment"]))
    if kind == "text":
        payload = draw(texts) + draw(not_utf8) + draw(st.sampled_from([b"", b"\x82\xac"]))
        return frame(TEXT, payload, mask=draw(masks))
    if kind == "close":
        body = draw(close_codes).to_bytes(2) + draw(st.one_of(texts, not_utf8))
        body = body[: draw(st.sampled_from([0, 1, 2, MAX_CONTROL_BYTES, None]))]
        return frame(CLOSE, body, mask=draw(masks))
    if kind == "fragment":
        opcode = draw(st.sampled_from([CONTINUATION, TEXT, BINARY]))
        payload = draw(st.one_of(texts, not_utf8, st.binary(max_size=LIMIT)))
        return frame(opcode, payload, final=draw(st.booleans()))
    if kind == "length":
        lengths = [0, 125, 126, 127, LIMIT - 1, LIMIT, LIMIT + 1, 65536, 1 << 63, (1 << 64) - 1]
        return frame(
            draw(st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING])),
            draw(st.binary(max_size=40)),
            length=draw(st.one_of(st.integers(0, LIMIT + 20), st.sampled_from(lengths))),
            length_bytes=draw(forms_of_length),
        )
    return frame(
        draw(st.integers(0, 15)),
        draw(st.binary(max_size=LIMIT + 20)),
        final=draw(st.booleans()),
        reserved=draw(st.integers(0, 7)),
        mask=draw(st.one_of(st.none(), masks)),
        length_bytes=draw(forms_of_length),
    )


@st.composite
def hostile_streams(draw: st.DrawFn) -> bytes:
    parts = st.one_of(valid_messages().map(lambda message: message[1]), strange_frames())
    stream = bytearray(b"".join(draw(st.lists(parts, min_size=1, max_size=5))))
    places = st.integers(0, len(stream) - 1)
    for place in draw(st.lists(places, max_size=2)):
        stream[place] ^= 1 << draw(st.integers(0, 7))
    if draw(st.booleans()):
        start, end = sorted([draw(places), draw(places)])
        del stream[start:end]
    return bytes(stream)


@settings(max_examples=200, deadline=None)
@given(st.lists(valid_messages(), max_size=5), sizes_of_pieces)
def test_valid_messages_arrive_whole_and_in_order(
    messages: list[tuple[list[Event], bytes]], piece_sizes: list[int]
) -> None:
    stream = b"".join(data for _, data in messages)

    seen = ours(stream, piece_sizes)
    assert [event for _, event in seen.events] == [event for e, _ in messages for event in e]
    assert seen.fault is None
    assert_same(stream, piece_sizes)


@settings(max_examples=1000, deadline=None)
@given(hostile_streams(), sizes_of_pieces)
def test_hostile_streams_end_alike(stream: bytes, piece_sizes: list[int]) -> None:
    assert_same(stream, piece_sizes)
