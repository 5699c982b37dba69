"""What FrameParser makes of bytes from a client, and the frames made for it."""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import pytest

from snorky.protocols.websocket_frames import (
    BINARY,
    CLOSE,
    MAX_EMPTY_FRAGMENTS,
    PING,
    PONG,
    TEXT,
    FrameParser,
    ProtocolError,
    encode_close,
    encode_frame,
)

LIMIT = 1000
MASK = b"\x37\xfa\x21\x3d"
CONTINUATION = 0

# RFC 6455, 5.7: "A single-frame masked text message"
HELLO = bytes.fromhex("81 85 37fa213d 7f9f4d5158")


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    length = len(payload)
    if length < 126:
        header = bytes([opcode | 0x80 * final, 0x80 | length])
    elif length < 65536:
        header = bytes([opcode | 0x80 * final, 0xFE]) + length.to_bytes(2)
    else:
        header = bytes([opcode | 0x80 * final, 0xFF]) + length.to_bytes(8)
    return header + MASK + bytes(a ^ b for a, b in zip(payload, cycle(MASK), strict=False))


def events_of(*pieces: bytes, limit: int = LIMIT) -> list[tuple[int, Any]]:
    parser = FrameParser(limit)
    return [event for piece in pieces for event in parser.feed(piece) if event[0] != CONTINUATION]


def fault_in(data: bytes, limit: int = LIMIT) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        events_of(data, limit=limit)
    return caught.value


@contextmanager
def counted_memory() -> Iterator[Callable[[], int]]:
    """Give a function that tells the bytes allocated since and still held."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


# Messages


def test_a_masked_text_is_read() -> None:
    assert events_of(HELLO) == [(TEXT, "Hello")]


def test_frames_that_came_together_are_all_read_in_order() -> None:
    data = (
        HELLO
        + client_frame(BINARY, b"\x00\xff")
        + client_frame(PING, b"you there?")
        + client_frame(PONG)
        + client_frame(TEXT, "größer".encode())
    )

    assert events_of(data) == [
        (TEXT, "Hello"),
        (BINARY, b"\x00\xff"),
        (PING, b"you there?"),
        (PONG, b""),
        (TEXT, "größer"),
    ]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 70000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_of_every_form_of_length_are_read(opcode: int, length: int) -> None:
    payload = b"0123456789abc"[:length] * (length // 13 + 1)
    payload = payload[:length]
    expected = payload.decode() if opcode == TEXT else payload

    assert events_of(client_frame(opcode, payload), limit=70000) == [(opcode, expected)]


@pytest.mark.parametrize("payload", [b"short", b"long" * 100], ids=["short", "long"])
def test_a_frame_may_be_cut_anywhere(payload: bytes) -> None:
    data = client_frame(TEXT, payload) + client_frame(PING, b"next")
    expected = [(TEXT, payload.decode()), (PING, b"next")]

    for cut in range(len(data) + 1):
        assert events_of(data[:cut], data[cut:]) == expected
    assert events_of(*(data[i : i + 1] for i in range(len(data)))) == expected


def test_every_event_comes_with_the_byte_that_completes_it() -> None:
    parser = FrameParser(LIMIT)

    assert list(parser.feed(HELLO + HELLO[:-1])) == [(TEXT, "Hello")]
    assert list(parser.feed(b"")) == []
    assert list(parser.feed(HELLO[-1:])) == [(TEXT, "Hello")]


def test_lengths_may_be_written_with_more_bytes_than_needed() -> None:
    sixteen = bytes.fromhex("81 fe 0005 37fa213d 7f9f4d5158")
    sixty_four = bytes.fromhex("81 ff 0000000000000005 37fa213d 7f9f4d5158")
    ping = bytes.fromhex("89 fe 0000 37fa213d")

    assert events_of(sixteen + sixty_four + ping) == [(TEXT, "Hello"), (TEXT, "Hello"), (PING, b"")]


# Fragments


def test_fragments_are_joined_even_within_a_character() -> None:
    euro = "€".encode()

    assert events_of(
        client_frame(TEXT, b"10 " + euro[:1], final=False)
        + client_frame(CONTINUATION, final=False)
        + client_frame(CONTINUATION, euro[1:2], final=False)
        + client_frame(CONTINUATION, euro[2:] + b" each")
    ) == [(TEXT, "10 € each")]


def test_binary_fragments_are_joined_as_they_are() -> None:
    [(opcode, payload)] = events_of(
        client_frame(BINARY, b"\xe2", final=False), client_frame(CONTINUATION, b"\xff")
    )

    assert (opcode, payload) == (BINARY, b"\xe2\xff")
    assert type(payload) is bytes


def test_control_frames_may_come_between_fragments() -> None:
    assert events_of(
        client_frame(TEXT, b"be", final=False)
        + client_frame(PING, b"1")
        + client_frame(CONTINUATION, b"twe", final=False)
        + client_frame(PONG, b"2")
        + client_frame(CONTINUATION, b"en")
        + HELLO
    ) == [(PING, b"1"), (PONG, b"2"), (TEXT, "between"), (TEXT, "Hello")]


# Closing


def test_a_close_frame_tells_its_code_and_reason() -> None:
    assert events_of(client_frame(CLOSE, b"\x03\xe8done \xe2\x82\xac")) == [
        (CLOSE, (1000, "done €"))
    ]


def test_a_close_frame_without_a_body_is_1005() -> None:
    assert events_of(client_frame(CLOSE)) == [(CLOSE, (1005, ""))]


def test_a_client_may_close_in_the_middle_of_a_message() -> None:
    assert events_of(client_frame(TEXT, b"unfini", final=False) + client_frame(CLOSE)) == [
        (CLOSE, (1005, ""))
    ]


def test_nothing_is_read_after_a_close_frame() -> None:
    parser = FrameParser(LIMIT)

    assert list(parser.feed(client_frame(CLOSE) + HELLO + b"\xff\xff")) == [(CLOSE, (1005, ""))]
    assert list(parser.feed(HELLO)) == []


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_codes_of_the_registry_and_private_ones_are_accepted(code: int) -> None:
    assert events_of(client_frame(CLOSE, code.to_bytes(2))) == [(CLOSE, (code, ""))]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_other_close_codes_are_refused(code: int) -> None:
    fault = fault_in(client_frame(CLOSE, code.to_bytes(2)))

    assert (fault.code, fault.reason) == (1002, f"invalid close code {code}")


# Faults


FAULTS = {
    "first reserved bit": ("c1 80 00000000", 1002, "reserved bits must be 0"),
    "second reserved bit": ("a1 80 00000000", 1002, "reserved bits must be 0"),
    "third reserved bit": ("91 80 00000000", 1002, "reserved bits must be 0"),
    "reserved bit in a ping": ("c9 80 00000000", 1002, "reserved bits must be 0"),
    "unknown data opcode": ("83 80", 1002, "unknown opcode 0x3"),
    "unknown control opcode": ("8b 80", 1002, "unknown opcode 0xb"),
    "unmasked text": ("81 05", 1002, "frames from clients must be masked"),
    "unmasked close": ("88 00", 1002, "frames from clients must be masked"),
    "ping of 126 bytes": ("89 fe 007e", 1002, "control frame over 125 bytes"),
    "close of 2^32 bytes": ("88 ff 0000000100000000", 1002, "control frame over 125 bytes"),
    "ping in fragments": ("09 80 00000000", 1002, "control frame in fragments"),
    "close in fragments": ("08 80 00000000", 1002, "control frame in fragments"),
    "continuation of nothing": ("80 80 00000000", 1002, "continuation of no message"),
    "text within a text": (
        "01 80 00000000 81 80 00000000",
        1002,
        "new message before the end of another",
    ),
    "fragment of a second message": (
        "02 80 00000000 02 80 00000000",
        1002,
        "new message before the end of another",
    ),
    "half a close code": ("88 81 00000000 03", 1002, "close frame with half a code"),
    "close reason that is not UTF-8": (
        "88 84 00000000 03e8 c328",
        1007,
        "text is not UTF-8 at byte 0",
    ),
    "text that is not UTF-8": ("81 83 00000000 61 c328", 1007, "text is not UTF-8 at byte 1"),
    "text that ends within a character": (
        "81 82 00000000 e282",
        1007,
        "text is not UTF-8 at byte 0",
    ),
    "half of a surrogate pair": ("81 83 00000000 eda080", 1007, "text is not UTF-8 at byte 0"),
    "fragments that are not UTF-8": (
        "01 81 00000000 c3 80 81 00000000 28",
        1007,
        "text is not UTF-8 at byte 0",
    ),
    "text of 1001 bytes": ("81 fe 03e9", 1009, "message over 1000 bytes"),
    "fragment of 1001 bytes": ("02 fe 03e9", 1009, "message over 1000 bytes"),
    "length with the top bit set": ("82 ff 8000000000000000", 1009, "message over 1000 bytes"),
}


@pytest.mark.parametrize(("data", "code", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_seen_with_the_first_bytes_that_show_it(
    data: str, code: int, reason: str
) -> None:
    fault = fault_in(bytes.fromhex(data))

    assert (fault.code, fault.reason) == (code, reason)


def test_what_came_before_a_fault_is_still_read_and_nothing_after_it() -> None:
    parser = FrameParser(LIMIT)
    events = parser.feed(HELLO + client_frame(PING) + b"\x83\x80" + HELLO)

    assert next(events) == (TEXT, "Hello")
    assert next(events) == (PING, b"")
    with pytest.raises(ProtocolError, match="1002 unknown opcode 0x3"):
        next(events)
    assert list(events) == []
    assert list(parser.feed(HELLO)) == []


# Sizes and costs


def test_a_message_may_have_just_the_largest_size() -> None:
    fragments = [client_frame(BINARY, b"x" * 999, final=False), client_frame(CONTINUATION, b"x")]

    assert events_of(client_frame(BINARY, b"x" * 1000)) == [(BINARY, b"x" * 1000)]
    assert events_of(*fragments) == [(BINARY, b"x" * 1000)]


def test_a_largest_size_below_that_of_short_frames_holds_too() -> None:
    assert events_of(client_frame(TEXT, b"x" * 10), limit=10) == [(TEXT, "x" * 10)]
    assert fault_in(client_frame(TEXT, b"x" * 11), limit=10).code == 1009


def test_fragments_that_end_nothing_are_told_of_because_they_take_time() -> None:
    parser = FrameParser(LIMIT)
    fragments = client_frame(TEXT, b"a", final=False) + client_frame(CONTINUATION, final=False)
    assert list(parser.feed(fragments)) == 2 * [(CONTINUATION, b"")]
    assert list(parser.feed(client_frame(CONTINUATION, b"b"))) == [(TEXT, "ab")]


def test_empty_fragments_do_not_go_on_for_ever() -> None:
    empty = client_frame(CONTINUATION, final=False)
    whole = client_frame(TEXT, final=False) + empty * (MAX_EMPTY_FRAGMENTS - 1)
    message = whole + client_frame(CONTINUATION, b"end")
    assert events_of(message + message) == 2 * [(TEXT, "end")]
    fault = fault_in(whole + empty)
    assert (fault.code, fault.reason) == (1008, "over 1000 empty fragments")


def test_fragments_are_added_up() -> None:
    parser = FrameParser(LIMIT)
    fragment = client_frame(CONTINUATION, b"x" * 400, final=False)

    begun = client_frame(TEXT, b"x" * 400, final=False)
    assert list(parser.feed(begun + fragment)) == 2 * [(CONTINUATION, b"")]
    with pytest.raises(ProtocolError) as caught:
        list(parser.feed(fragment[:4]))  # the header is enough
    assert caught.value.code == 1009


def test_control_frames_do_not_count_as_part_of_a_message() -> None:
    assert events_of(
        client_frame(BINARY, b"12345", final=False)
        + client_frame(PING, b"x" * 125)
        + client_frame(CONTINUATION, b"67890"),
        limit=10,
    ) == [(PING, b"x" * 125), (BINARY, b"1234567890")]


def test_endless_empty_fragments_take_no_memory() -> None:
    parser = FrameParser(LIMIT)
    list(parser.feed(client_frame(TEXT, b"x", final=False)))
    empty = client_frame(CONTINUATION, final=False) * 100

    with counted_memory() as held_bytes:
        for _ in range(MAX_EMPTY_FRAGMENTS // 100):
            for _event in parser.feed(empty):
                pass
        assert held_bytes() < MAX_EMPTY_FRAGMENTS // 2  # half a byte for each


def test_an_idle_parser_is_small_whatever_it_has_read() -> None:
    big = client_frame(TEXT, b"x" * 500, final=False) + client_frame(CONTINUATION, b"x" * 500)
    parsers: list[FrameParser] = []

    with counted_memory() as held_bytes:
        for _ in range(100):
            parser = FrameParser(LIMIT)
            assert list(parser.feed(big[:300])) == []
            assert list(parser.feed(big[300:]))[-1] == (TEXT, "x" * 1000)
            parsers.append(parser)
        assert held_bytes() / len(parsers) < 200


@pytest.mark.parametrize("last", [client_frame(CLOSE), b"\x83\x80"], ids=["close", "fault"])
def test_an_ended_parser_keeps_no_fragments(last: bytes) -> None:
    parser = FrameParser(100_000)

    with counted_memory() as held_bytes:
        list(parser.feed(client_frame(TEXT, b"x" * 90_000, final=False)))
        assert held_bytes() > 90_000
        try:
            list(parser.feed(last))
        except ProtocolError:
            pass
        assert held_bytes() < 10_000


def test_a_frame_that_trickles_in_costs_time_in_proportion_to_its_size() -> None:
    def seconds_for(size: int) -> float:
        parser = FrameParser(size)
        data = client_frame(BINARY, bytes(size))
        pieces = [data[i : i + 1] for i in range(len(data))]
        start = time.process_time()
        events = [event for piece in pieces for event in parser.feed(piece)]
        seconds = time.process_time() - start
        assert events == [(BINARY, bytes(size))]
        return seconds

    # 32 times the bytes. Work on all of them for every piece would take hundreds of times longer.
    assert seconds_for(512 * 1024) < 100 * seconds_for(16 * 1024)


def test_a_shared_buffer_may_be_reused_while_events_wait() -> None:
    shared = bytearray(HELLO * 3 + HELLO[:7])
    parser = FrameParser(LIMIT)

    events = parser.feed(memoryview(shared))
    assert next(events) == (TEXT, "Hello")
    shared[:] = b"\xff" * len(shared)
    assert list(events) == [(TEXT, "Hello"), (TEXT, "Hello")]
    assert list(parser.feed(HELLO[7:])) == [(TEXT, "Hello")]


# Frames to clients


@pytest.mark.parametrize(
    ("opcode", "payload", "header"),
    [
        # The examples of RFC 6455, 5.7
        (TEXT, b"Hello", "81 05"),
        (PING, b"Hello", "89 05"),
        (BINARY, bytes(256), "82 7e 0100"),
        (BINARY, bytes(65536), "82 7f 0000000000010000"),
        # and where the forms of the length meet
        (PONG, b"", "8a 00"),
        (TEXT, bytes(125), "81 7d"),
        (TEXT, bytes(126), "81 7e 007e"),
        (TEXT, bytes(65535), "81 7e ffff"),
    ],
)
def test_a_frame_to_a_client_is_final_and_unmasked(
    opcode: int, payload: bytes, header: str
) -> None:
    assert encode_frame(opcode, payload) == bytes.fromhex(header) + payload


def test_a_control_frame_that_is_too_long_is_not_made() -> None:
    with pytest.raises(ValueError, match="holds 125 bytes, not 126"):
        encode_frame(PONG, bytes(126))


def test_a_close_frame_carries_code_and_reason() -> None:
    assert encode_close(1001) == bytes.fromhex("88 02 03e9")
    assert encode_close(4000, "bye €") == bytes.fromhex("88 09 0fa0") + "bye €".encode()


def test_1005_makes_a_close_frame_without_a_body() -> None:
    assert encode_close(1005, "ignored") == b"\x88\x00"


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("x" * 124, "x" * 123),
        ("é" * 62, "é" * 61),  # 62 would have 124 bytes
        ("x" + "é" * 61, "x" + "é" * 61),
        ("x" * 122 + "😀", "x" * 122),
        ("half \ud83d", "half ?"),
    ],
)
def test_a_long_reason_is_cut_between_characters(reason: str, sent: str) -> None:
    body = b"\x03\xe8" + sent.encode()

    assert encode_close(1000, reason) == bytes([0x88, len(body)]) + body


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1006, 1015, 2999, 5000, 70000])
def test_codes_that_must_not_be_sent_are_refused(code: int) -> None:
    with pytest.raises(ValueError, match=f"{code} cannot be sent as a close code"):
        encode_close(code)
