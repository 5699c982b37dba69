"""WebSocket frames, the server's side: bytes from a client in, messages out, frames for it.

Follows RFC 6455; comments cite its sections. Knows framing, masking, fragments, UTF-8, close codes
and sizes. Leaves to the connection: the handshake (no extension is negotiated, so the reserved
bits stay 0), answering pings and closes, timeouts and every byte of I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

# The only thing taken from Tornado outside the edges: unmasking in C. Byte by byte in Python it
# costs a hundred times more; Tornado falls back to that by itself where its extension is missing.
from tornado.util import _websocket_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_KNOWN_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})

_FINAL = 0x80  # first byte: the last, or only, fragment of a message
_RESERVED = 0x70
_OPCODE = 0x0F
_FINAL_TEXT = _FINAL | TEXT
_MASKED = 0x80  # second byte, whose other bits are the length
_LENGTH_16, _LENGTH_64 = 126, 127  # the length is in the next 2 or 8 bytes

MAX_EMPTY_FRAGMENTS = 1000
"""Fragments without any payload in one message. Past it: code 1008. No program sends them so."""

_MAX_CONTROL_BYTES = 125  # 5.5
_MAX_REASON_BYTES = _MAX_CONTROL_BYTES - 2

_PROTOCOL_FAULT = 1002
_NO_STATUS = 1005  # 7.1.5: stands for a close frame without a code
_NOT_UTF8 = 1007
_POLICY = 1008
_TOO_BIG = 1009
_NEVER_SENT = frozenset({1004, _NO_STATUS, 1006})  # 7.4.1, which 1015 belongs to as well

_pack_length_8 = struct.Struct("!BB").pack
_pack_length_16 = struct.Struct("!BBH").pack
_pack_length_64 = struct.Struct("!BBQ").pack
_SHORT_TEXT_HEADERS = [_pack_length_8(_FINAL_TEXT, length) for length in range(_LENGTH_16)]


class ProtocolError(Exception):
    """The client broke the protocol: close the connection with ``code`` and ``reason``."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class FrameParser:
    """Reads the frames of one client and joins their fragments into messages.

    A message may have up to ``max_message_bytes`` bytes, which is checked when the header of a
    frame arrives, before its payload is kept. So a parser holds at most one message in fragments,
    one incomplete frame and what came with it in the last feed; between messages it holds nothing.
    """

    __slots__ = (
        "_empty_fragments",
        "_ended",
        "_fragments",
        "_fragments_opcode",
        "_max_message_bytes",
        "_partial",
        "_partial_needs",
        "_short_limit",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        # Below this is the second byte of masked frames that are short and not too big.
        self._short_limit = _MASKED + min(max_message_bytes + 1, _LENGTH_16)
        self._ended = False
        # The payloads so far of a message in fragments. Joined at once: however many empty
        # fragments a client sends, they take no memory.
        self._fragments: bytearray | None = None
        self._empty_fragments = 0
        self._fragments_opcode = CONTINUATION
        # The beginning of a frame, and how many bytes of it make another look worthwhile: a frame
        # that trickles in must not be parsed anew for every piece.
        self._partial: bytearray | None = None
        self._partial_needs = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[tuple[int, Any]]:
        """Yield what ``data`` completes, in order.

        Events are ``(TEXT, str)``, ``(BINARY, bytes)``, ``(PING, bytes)``, ``(PONG, bytes)`` and
        ``(CLOSE, (code, reason))``; the code of a close frame without a body is 1005. A fragment
        that is not the last of its message is ``(CONTINUATION, b"")``: it means nothing, and takes
        time.

        Raises ProtocolError at the first fault, after the events before it. Nothing follows a
        CLOSE or a fault: later data is ignored.

        ``data`` is copied when the iteration begins (``bytes`` are not), so a shared receive
        buffer may be reused however slowly the events are taken. They must all be taken before
        the next feed.
        """
        if self._ended:
            return
        data = bytes(data)
        if self._partial is not None:
            self._partial += data
            if len(self._partial) < self._partial_needs:
                return
            data = bytes(self._partial)
            self._partial = None

        position = 0
        size = len(data)
        short_limit = self._short_limit
        while position < size:
            # The fast way, for a whole short text: what nearly every call is. A method called here
            # would be felt, so _decode is repeated.
            if (
                data[position] == _FINAL_TEXT
                and position + 1 < size
                and _MASKED <= (second := data[position + 1]) < short_limit
                and (end := position + second - (_MASKED - 6)) <= size
                and self._fragments is None
            ):
                mask = data[position + 2 : position + 6]
                try:
                    text = _websocket_mask(mask, data[position + 6 : end]).decode()
                except UnicodeDecodeError as error:
                    raise self._not_utf8(error) from error
                position = end
                yield TEXT, text
                continue

            start, end = self._read_header(data, position)
            if end > size:
                self._partial = bytearray(data[position:])
                self._partial_needs = end - position
                return
            first = data[position]
            payload = _websocket_mask(data[start - 4 : start], data[start:end])
            position = end
            yield self._receive(first, payload)
            if self._ended:
                return

    def _read_header(self, data: bytes, position: int) -> tuple[int, int]:
        """Check the header at ``position``; return where its payload begins and ends.

        While the header itself is incomplete, the end is that of its next piece.
        """
        start = position + 6  # two bytes and the mask
        if len(data) < position + 2:
            return start, position + 2
        first, second = data[position], data[position + 1]
        opcode = first & _OPCODE
        if opcode not in _KNOWN_OPCODES:
            raise self._fault(_PROTOCOL_FAULT, f"unknown opcode {opcode:#x}")
        if not second & _MASKED:  # 5.1
            raise self._fault(_PROTOCOL_FAULT, "frames from clients must be masked")

        # A length may use more bytes than needed: 5.2 tells senders not to do that, but does not
        # tell receivers to refuse it, and the common ones do not.
        length = second & ~_MASKED
        if length >= _LENGTH_16:
            length_end = position + (4 if length == _LENGTH_16 else 10)
            start = length_end + 4
            if len(data) < length_end:
                return start, length_end
            # 64 bits with the top bit set (forbidden by 5.2) need no check of their own: such a
            # length is beyond every limit.
            length = int.from_bytes(data[position + 2 : length_end])

        if opcode >= CLOSE:
            if length > _MAX_CONTROL_BYTES:  # 5.5, as is the next
                raise self._fault(_PROTOCOL_FAULT, f"control frame over {_MAX_CONTROL_BYTES} bytes")
            if not first & _FINAL:
                raise self._fault(_PROTOCOL_FAULT, "control frame in fragments")
        else:
            joined_bytes = 0 if self._fragments is None else len(self._fragments)
            if joined_bytes + length > self._max_message_bytes:
                raise self._fault(_TOO_BIG, f"message over {self._max_message_bytes} bytes")
            if opcode == CONTINUATION and self._fragments is None:  # 5.4, as is the next
                raise self._fault(_PROTOCOL_FAULT, "continuation of no message")
            if opcode != CONTINUATION and self._fragments is not None:
                raise self._fault(_PROTOCOL_FAULT, "new message before the end of another")
        if first & _RESERVED:
            raise self._fault(_PROTOCOL_FAULT, "reserved bits must be 0")
        return start, start + length

    def _receive(self, first: int, payload: bytes) -> tuple[int, Any]:
        """Take a frame whose header was checked; return its event."""
        opcode = first & _OPCODE
        if opcode == CLOSE:
            # Also in the middle of a fragmented message (5.4), which then never ends.
            event = CLOSE, self._close_code_and_reason(payload)
            self._end()
            return event
        if opcode > CLOSE:
            return opcode, payload

        if not first & _FINAL:
            if self._fragments is None:
                self._fragments = bytearray(payload)
                self._fragments_opcode = opcode
                self._empty_fragments = 0
            else:
                self._fragments += payload
            if not payload:
                self._empty_fragments += 1
                if self._empty_fragments > MAX_EMPTY_FRAGMENTS:
                    raise self._fault(_POLICY, f"over {MAX_EMPTY_FRAGMENTS} empty fragments")
            return CONTINUATION, b""
        if self._fragments is not None:
            self._fragments += payload
            payload = bytes(self._fragments)
            opcode = self._fragments_opcode
            self._fragments = None
        return opcode, self._decode(payload) if opcode == TEXT else payload

    def _close_code_and_reason(self, payload: bytes) -> tuple[int, str]:
        if not payload:
            return _NO_STATUS, ""
        if len(payload) == 1:
            raise self._fault(_PROTOCOL_FAULT, "close frame with half a code")
        reason = self._decode(payload[2:])
        code = int.from_bytes(payload[:2])
        if not _may_be_sent(code):
            raise self._fault(_PROTOCOL_FAULT, f"invalid close code {code}")
        return code, reason

    def _decode(self, text: bytes) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise self._not_utf8(error) from error

    def _not_utf8(self, error: UnicodeDecodeError) -> ProtocolError:
        return self._fault(_NOT_UTF8, f"text is not UTF-8 at byte {error.start}")

    def _fault(self, code: int, reason: str) -> ProtocolError:
        self._end()
        return ProtocolError(code, reason)

    def _end(self) -> None:
        self._ended = True
        self._fragments = None
        self._partial = None


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Make one frame of a whole message. Servers do not mask: it is the same for every client.

    Raises ValueError for a control frame of more than 125 bytes.
    """
    length = len(payload)
    if opcode == TEXT and length < _LENGTH_16:
        return _SHORT_TEXT_HEADERS[length] + payload
    if length < _LENGTH_16:
        return _pack_length_8(_FINAL | opcode, length) + payload
    if opcode >= CLOSE:
        raise ValueError(f"a control frame holds {_MAX_CONTROL_BYTES} bytes, not {length}")
    if length < 1 << 16:
        return _pack_length_16(_FINAL | opcode, _LENGTH_16, length) + payload
    return _pack_length_64(_FINAL | opcode, _LENGTH_64, length) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """Make a close frame with as many whole characters of ``reason`` as fit into 123 bytes.

    1005 gives a frame without a body, as it does in the events of FrameParser. Raises ValueError
    for codes that must not be sent.
    """
    if code == _NO_STATUS:
        return encode_frame(CLOSE, b"")
    if not _may_be_sent(code):
        raise ValueError(
            f"{code} cannot be sent as a close code; expected 3000-4999, or 1000-1014 without "
            "1004 and 1006"
        )
    # Half of a surrogate pair, which JSON can contain, has no UTF-8: it becomes "?".
    text = reason.encode(errors="replace")[:_MAX_REASON_BYTES].decode(errors="ignore")
    return encode_frame(CLOSE, code.to_bytes(2) + text.encode())


def _may_be_sent(code: int) -> bool:
    """Whether a close frame may have this code: 7.4 and IANA's registry, which added 1012-1014."""
    return (1000 <= code <= 1014 and code not in _NEVER_SENT) or 3000 <= code <= 4999
