"""SockJS: what is said between a client and its session, not how it travels.

Follows sockjs-protocol 0.3.3, whose chapters the comments name. A session outlives its connections:
frames wait in it until a receiver takes them. What a receiver is (one response, one WebSocket),
time, and who may connect are left to the edge.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Protocol

from snorky.close_codes import CloseCode
from snorky.protocols import sessions
from snorky.wire import MalformedMessage, decode

OPEN = b"o"
HEARTBEAT = b"h"

GO_AWAY = CloseCode(3000, "Go away!")
INTERRUPTED = CloseCode(1002, "Connection interrupted")
OCCUPIED = CloseCode(2010, "Another connection still open")
BROKEN_DATA = CloseCode(1007, "broken data")

MAX_FRAME_BYTES = 64 * 1024
"""Messages that wait are joined up to this size: a peer that reads slowly is seen to read."""

# What browsers mangle on its way ("JSON Unicode Encoding"); json escapes U+0000 to U+001F.
_MANGLED = re.compile("[\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff\ud800-\udfff]")
_CALLBACK = re.compile(r"[a-zA-Z0-9_.-]{1,128}", re.ASCII)


class BadPayload(ValueError):
    """A request without messages; its text is what the protocol has us answer."""


# Frames


@lru_cache(maxsize=1)  # a publication is quoted once, however many clients receive it
def quoted(text: bytes) -> bytes:
    """A message as a JSON string that reaches every browser unchanged."""
    json_text = json.dumps(text.decode("utf-8", "surrogatepass"), ensure_ascii=False)
    return _MANGLED.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text).encode()


def close_frame(code: int, reason: str) -> bytes:
    return b"c" + json.dumps([code, reason], separators=(",", ":")).encode()


def messages_in(payload: str | bytes) -> list[str]:
    """The messages of a request or of a WebSocket frame: an array of strings, or one string.

    Raises BadPayload.
    """
    if not payload:
        raise BadPayload("Payload expected.")
    try:
        messages = decode(payload)
    except MalformedMessage as error:
        raise BadPayload("Broken JSON encoding.") from error
    if isinstance(messages, str):
        return [messages]
    if not isinstance(messages, list) or not all(isinstance(text, str) for text in messages):
        raise BadPayload("Payload expected.")
    return messages


# How the transports over HTTP write a frame


def xhr_chunk(frame: bytes) -> bytes:
    return frame + b"\n"


def event_chunk(frame: bytes) -> bytes:
    """For EventSource. The client takes percent signs for escapes."""
    return b"data: " + frame.replace(b"%", b"%25") + b"\r\n\r\n"


def script_chunk(frame: bytes) -> bytes:
    """For htmlfile: a script in a page that never ends."""
    return b"<script>\np(" + _in_javascript(frame) + b");\n</script>\r\n"


def jsonp_chunk(callback: str, frame: bytes) -> bytes:
    return callback.encode() + b"(" + _in_javascript(frame) + b");\r\n"


def is_callback(name: str) -> bool:
    """Say whether ``name`` can be nothing but the name of a function."""
    return _CALLBACK.fullmatch(name) is not None


def _in_javascript(frame: bytes) -> bytes:
    # Messages come from people: none of them may end the script that carries it.
    return json.dumps(frame.decode(), ensure_ascii=False).replace("<", "\\u003c").encode()


# Sessions


class Receiver(sessions.Receiver, Protocol):
    """Where frames go, until it ends: one response, or one WebSocket."""

    @property
    def finished(self) -> bool:
        """True when it takes no more, and all that it has taken has left."""


class Session(sessions.Session):
    """What waits for one client, as frames."""

    GOODBYE = GO_AWAY
    receiver: Receiver | None

    def __init__(self, max_unsent_bytes: int) -> None:
        super().__init__(max_unsent_bytes)
        self._welcome_due = True
        self._goodbye_due = False

    def close(self, code: int | None = None, reason: str = "") -> None:
        if not self.closed:
            self._goodbye_due = True
            super().close(code, reason)

    # The receiver's side

    def attach(self, receiver: Receiver) -> bool:
        """Let ``receiver`` take the frames; False while another one does ("Protocol").

        A closed session says goodbye to every receiver ("Handling close").
        """
        if self.receiver is not None and not (self.closed or self.receiver.finished):
            return False
        self.receiver = receiver
        self._heartbeat_due = False
        self._goodbye_due = self.closed
        return True

    def take_frame(self) -> bytes | None:
        """The next frame, for the receiver; None where nothing waits."""
        if self._welcome_due:
            self._welcome_due = False
            return OPEN
        if self._waiting:
            self._heartbeat_due = False
            return b"a[" + b",".join(self._take_batch(MAX_FRAME_BYTES)) + b"]"
        if self._goodbye_due and self.close_code is not None:
            self._goodbye_due = False
            return close_frame(*self.close_code)
        if self._heartbeat_due:
            self._heartbeat_due = False
            return HEARTBEAT
        return None

    def _as_sent(self, text: bytes) -> bytes:
        return quoted(text)


class RawSession(Session):
    """For programs, at ``/websocket``: messages as they are, no frames ("Raw WebSocket")."""

    def take_frame(self) -> bytes | None:
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message)
        return message

    def _as_sent(self, text: bytes) -> bytes:
        return text
