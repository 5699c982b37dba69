"""What travels between a client and a server, byte by byte, written down for people to read.

Knows sockets, the outlines of HTTP and of WebSocket frames, and how pages show both. What is said
is the caller's business.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby

from tests.patience import patient

DEADLINE = patient(20.0)
MASK = bytes.fromhex("37fa213d")
"""A real client picks another one at random for each frame; the pages must stay as they are."""

_OPCODES = {0x1: "text", 0x2: "binary", 0x8: "close", 0x9: "ping", 0xA: "pong"}
_LONG_RUN = re.compile(r"(.)\1{31,}")
# What differs from one run to the next. Ids that the server makes are replaced by the caller.
_VARIABLE = [
    (re.compile(rb"(?m)^Date: [^\r\n]+"), b"Date: Sat, 01 Jan 2050 12:00:00 GMT"),
    (re.compile(rb"(?m)^Server: TornadoServer/[^\r\n]+"), b"Server: TornadoServer/6"),
    (re.compile(rb'"[0-9a-f]{16}\.(\d+)\.[0-9a-f]*"'), rb'"position-\1"'),
    (re.compile(rb'"[\w-]{100,1500}"'), b'"a-token-of-many-characters"'),
    (re.compile(rb'(?m)^Etag: "\w+"'), b'Etag: "0123456789abcdef0123456789abcdef01234567"'),
]
_ENTROPY = re.compile(rb'"entropy":\d+')
_CONTENT_LENGTH = re.compile(rb"Content-Length: (\d+)")


@dataclass
class Piece:
    """What was said in one direction. ``wire`` is empty where a page has one connection only."""

    wire: str
    arrow: str
    data: bytes
    is_frame: bool = False


@dataclass
class Transcript:
    """Everything said so far, in blocks that pages show by their names."""

    blocks: dict[str, list[Piece]] = field(default_factory=dict)
    _replaced: dict[bytes, bytes] = field(default_factory=dict)

    def begin(self, block: str) -> None:
        self.blocks[block] = []

    def add(self, piece: Piece) -> None:
        self.blocks[next(reversed(self.blocks))].append(piece)

    def replace(self, variable: str, shown: str) -> None:
        """Show another id of the same length instead: what counts bytes stays true."""
        assert len(variable) == len(shown), f"{variable!r} has {len(variable)} characters"
        self._replaced[variable.encode()] = shown.encode()

    def text_of(self, block: str, *, frames: str = "text") -> str:
        """The block as lines. ``frames``: "hex", "text", or "message", without their kind."""
        lines: list[str] = []
        last_wire = ""
        for (wire, arrow, is_frame), pieces in groupby(
            self.blocks[block], lambda piece: (piece.wire, piece.arrow, piece.is_frame)
        ):
            said = [piece.data for piece in pieces]
            if wire != last_wire:
                lines += ["", f"-- {wire}"] if lines else [f"-- {wire}"]
                last_wire = wire
            if not is_frame:
                shown = list(_text_lines(self._normalised(b"".join(said))))
            elif frames == "hex":
                shown = [line for frame in said for line in _hex_lines(frame)]
            else:
                shown = [self._normalised(_frame_line(frame).encode()).decode() for frame in said]
                if frames == "message":
                    shown = [line.removeprefix("[text] ") for line in shown]
            lines += [f"{arrow} {line}".rstrip() for line in shown]
        return "\n".join(lines) + "\n"

    def _normalised(self, data: bytes) -> bytes:
        for variable, shown in self._replaced.items():
            data = data.replace(variable, shown)
        for pattern, replacement in _VARIABLE:
            data = pattern.sub(replacement, data)
        entropy = _ENTROPY.search(data)
        if entropy is not None:
            shown = b'"entropy":1234567890'
            longer = len(shown) - len(entropy[0])
            data = data.replace(entropy[0], shown)
            data = _CONTENT_LENGTH.sub(
                lambda match: b"Content-Length: %d" % (int(match[1]) + longer), data
            )
        return data


class Wire:
    """One connection to the server; what passes is written down in ``transcript``."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        transcript: Transcript,
        name: str,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._transcript = transcript
        self._name = name

    # Text: HTTP

    def say(self, text: str) -> None:
        self._write(text.encode())

    def request(self, line: str, *fields: str, body: str | None = None) -> None:
        """One request; ``Host`` and what the body needs are added."""
        head = [f"{line} HTTP/1.1", "Host: localhost:5001", *fields]
        if body is not None:
            head.append(f"Content-Length: {len(body.encode())}")
        self.say("\r\n".join([*head, "", body or ""]))

    async def hear_head(self) -> str:
        return (await self._hear(self._reader.readuntil(b"\r\n\r\n"))).decode()

    async def hear_chunk(self) -> str:
        """One chunk of a response that goes on; the last one is empty."""
        size = await self._hear(self._reader.readuntil(b"\r\n"))
        return (await self._hear(self._reader.readexactly(int(size, 16) + 2))).decode()

    async def hear_response(self) -> str:
        """A whole response; returns its body."""
        head = await self.hear_head()
        length = _CONTENT_LENGTH.search(head.encode())
        if length is not None:
            return (await self._hear(self._reader.readexactly(int(length[1])))).decode()
        if "chunked" not in head:
            return ""
        body = ""
        while chunk := (await self.hear_chunk()).removesuffix("\r\n"):
            body += chunk
        return body

    # Frames: WebSocket

    def say_frame(self, text: str | bytes, opcode: int = 0x1, *, masked: bool = True) -> None:
        payload = text.encode() if isinstance(text, str) else text
        size = len(payload)
        second = 0x80 if masked else 0
        head = bytes([0x80 | opcode, second | min(size, 126)])
        if size > 125:
            head += size.to_bytes(2)
        self._write(head + (MASK + _masked(payload) if masked else payload), is_frame=True)

    async def hear_frame(self) -> bytes:
        """One frame; returns its payload."""
        start = await self._wait(self._reader.readexactly(2))
        size = start[1] & 0x7F
        if size == 126:
            start += await self._wait(self._reader.readexactly(2))
            size = int.from_bytes(start[2:])
        payload = await self._wait(self._reader.readexactly(size))
        self._transcript.add(Piece(self._name, "←", start + payload, is_frame=True))
        return payload

    async def hear_end(self) -> None:
        """The server closes the connection, and says nothing more before it."""
        assert await self._wait(self._reader.read()) == b""

    async def _hear(self, reading: object) -> bytes:
        data = await self._wait(reading)
        self._transcript.add(Piece(self._name, "←", data))
        return data

    async def _wait(self, reading: object) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await reading  # type: ignore[misc,no-any-return]  # StreamReader's coroutines

    def _write(self, data: bytes, *, is_frame: bool = False) -> None:
        self._transcript.add(Piece(self._name, "→", data, is_frame))
        self._writer.write(data)

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass  # the server was first


@asynccontextmanager
async def wire_to(port: int, transcript: Transcript, name: str = "") -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wire = Wire(reader, writer, transcript, name)
    try:
        yield wire
    finally:
        await wire.close()


# How pages show it


def _text_lines(data: bytes) -> Iterator[str]:
    """Lines, which end with CR LF; one that does not is marked. A line feed alone is shown."""
    *lines, rest = data.decode().split("\r\n")
    for line in lines:
        yield from _escaped(line).replace("\\n", "\\n\n").removesuffix("\n").split("\n")
    if rest:
        yield _escaped(rest) + " ⊣"


def _escaped(text: str) -> str:
    text = _LONG_RUN.sub(lambda run: f"<{len(run[0])} times {run[1]!r}>", text)
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _hex_lines(frame: bytes) -> Iterator[str]:
    head, mask, payload = _parts_of(frame)
    described = f"{_OPCODES[head[0] & 0x0F]}, {len(payload)} bytes"
    yield _hex_line(head, f"{described}, masked" if mask else described)
    if mask:
        yield _hex_line(mask, "the mask")
    clear = _masked(payload) if mask else payload
    for start in range(0, len(payload), 16):
        shown = clear[start : start + 16].decode("latin-1")
        text = "".join(c if c.isascii() and c.isprintable() else "." for c in shown)
        yield _hex_line(payload[start : start + 16], text)


def _hex_line(data: bytes, text: str) -> str:
    return f"{data.hex(' '):<47}  {text}"


def _frame_line(frame: bytes) -> str:
    head, mask, payload = _parts_of(frame)
    clear = _masked(payload) if mask else payload
    kind = _OPCODES[head[0] & 0x0F]
    if kind == "close":
        return f"[close] {int.from_bytes(clear[:2])} {clear[2:].decode()}"
    return f"[{kind}] {_escaped(clear.decode())}"


def _parts_of(frame: bytes) -> tuple[bytes, bytes, bytes]:
    """Head, mask and payload of one whole frame."""
    head_size = 4 if frame[1] & 0x7F == 126 else 2
    mask_size = 4 if frame[1] & 0x80 else 0
    start = head_size + mask_size
    return frame[:head_size], frame[head_size:start], frame[start:]


def _masked(payload: bytes) -> bytes:
    """RFC 6455, 5.3. Masking twice gives the payload again."""
    return bytes(byte ^ MASK[position % 4] for position, byte in enumerate(payload))
