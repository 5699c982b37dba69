"""Comet: a session whose connections come and go, and nothing of what is said is lost or repeated.

Messages are numbered from 1 on, each way. What a receiver has taken is kept, within a bound, until
the client says that it has it: the next receiver begins there. What a receiver is (a response that
goes on, or one for each delivery), time, and who may connect are left to the edge.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any, NamedTuple, Protocol

from snorky.close_codes import CloseCode
from snorky.protocols import sessions
from snorky.wire import MalformedMessage, decode

INTERRUPTED = CloseCode(1002, "connection interrupted")

MAX_BATCH_BYTES = 64 * 1024
"""Messages that wait are taken together up to this size: a peer that reads slowly is seen to."""

MAX_MESSAGES_PER_REQUEST = 1000

PADDING = b":" + b" " * 2048 + b"\n\n"
"""Some proxies and browsers keep the first kilobytes of a response for themselves."""

HEARTBEAT = b":\n\n"
OPEN_EVENT = b"event: open\ndata:\n\n"

_POSITION = re.compile(r"[0-9]{1,15}", re.ASCII)


class BadRequest(ValueError):
    """A request that is none; its text says what was expected."""


class Missed(Exception):
    """The client asks for what is not kept any more, or was never sent: it has to start anew."""


class Batch(NamedTuple):
    """Messages that a client numbers ``first`` and on."""

    first: int
    after: int | None
    """The last message of ours that it has, where it says so."""
    messages: list[str]


def batch_in(body: bytes) -> Batch:
    """``{"first": int, "messages": [str, ...], "after": int (optional)}``. Raises BadRequest."""
    try:
        value = decode(body)
    except MalformedMessage as error:
        raise BadRequest("Expected JSON") from error
    if not isinstance(value, dict):
        raise BadRequest("Expected an object")
    first: Any = value.get("first")
    after: Any = value.get("after")
    messages: Any = value.get("messages")
    if not _is_number(first) or first < 1:
        raise BadRequest("first: expected the number of the first message, from 1 on")
    if after is not None and not _is_number(after):
        raise BadRequest("after: expected the number of a message")
    if not isinstance(messages, list) or not all(isinstance(text, str) for text in messages):
        raise BadRequest("messages: expected a list of texts")
    if len(messages) > MAX_MESSAGES_PER_REQUEST:
        raise BadRequest(f"messages: expected at most {MAX_MESSAGES_PER_REQUEST}")
    return Batch(first, after, messages)


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < 10**15


def position_in(text: str) -> int:
    """The number of a message, as requests name it. Raises BadRequest."""
    if _POSITION.fullmatch(text) is None:
        raise BadRequest("Expected the number of the last message received, or 0")
    return int(text)


def event(number: int, text: bytes) -> bytes:
    """A message for an event stream. JSON has no line ends of its own."""
    return b"id: %d\ndata: %b\n\n" % (number, text)


def close_event(why: CloseCode) -> bytes:
    return b"event: close\ndata: " + json.dumps(why).encode() + b"\n\n"


def poll_answer(after: int, messages: list[bytes], why: CloseCode | None = None) -> bytes:
    """What a poll is answered: the messages up to number ``after``, and perhaps a goodbye."""
    goodbye = b"" if why is None else b',"close":' + json.dumps(why).encode()
    return b'{"after":%d,"messages":[%b]%b}' % (after, b",".join(messages), goodbye)


class Receiver(sessions.Receiver, Protocol):
    """Where messages go, until it ends: one response."""

    def replace(self) -> None:
        """Another one has come in its place: end, and take nothing more."""


class Session(sessions.Session):
    """What is said between one client and its services, over any number of receivers.

    ``max_kept_bytes`` that were taken are kept for receivers that break; what was taken last is
    kept whatever its size.
    """

    receiver: Receiver | None

    def __init__(self, max_unsent_bytes: int, max_kept_bytes: int) -> None:
        super().__init__(max_unsent_bytes)
        self.max_kept_bytes = max_kept_bytes
        self.received = 0
        """The last message of the client's that was accepted."""
        self.taken = 0
        """The last message of ours that the receiver has taken."""
        self._kept: deque[bytes] = deque()
        """Messages up to ``taken`` that the client may not have."""
        self._kept_bytes = 0

    # The client's side

    def accept(self, number: int) -> bool:
        """Whether message ``number`` of the client's is new: else it was delivered before.

        Raises BadRequest where the one before it has not come.
        """
        if number > self.received + 1:
            raise BadRequest(f"Expected message {self.received + 1}, got {number}")
        if number <= self.received:
            return False
        self.received = number
        return True

    def acknowledge(self, after: int) -> None:
        """The client has all messages up to number ``after``. Says less than before: nothing."""
        forgotten = self.taken - len(self._kept)
        for _ in range(min(after, self.taken) - forgotten):
            self._kept_bytes -= len(self._kept.popleft())

    # The receiver's side

    def attach(self, receiver: Receiver, after: int) -> None:
        """Let ``receiver`` take what follows message ``after``, in the place of any other.

        Raises Missed where that cannot be had; nothing has changed then. A session that was cut has
        nothing left to miss: it says goodbye to whoever asks.
        """
        if not self.taken - len(self._kept) <= after <= self.taken and not (
            self.closed and not self._kept and not self._waiting
        ):
            raise Missed(f"Message {after + 1} cannot be had any more: start anew")
        self.acknowledge(after)
        # What the last receiver took and the client does not have waits again, in its order.
        self._waiting.extendleft(reversed(self._kept))
        self.taken -= len(self._kept)
        self._waiting_bytes += self._kept_bytes
        self._kept.clear()
        self._kept_bytes = 0
        self._heartbeat_due = False
        previous, self.receiver = self.receiver, receiver
        if previous is not None:
            previous.replace()

    def take(self) -> list[bytes]:
        """The messages that come next, the last of them with number ``taken``; none: empty."""
        while self._waiting and self._kept_bytes > self.max_kept_bytes:
            self._kept_bytes -= len(self._kept.popleft())
        batch = self._take_batch(MAX_BATCH_BYTES)
        self.taken += len(batch)
        self._kept.extend(batch)
        self._kept_bytes += sum(map(len, batch))
        return batch

    def take_heartbeat(self) -> bool:
        """Whether a sign of life is due."""
        due, self._heartbeat_due = self._heartbeat_due, False
        return due

    def _drop(self) -> None:
        super()._drop()
        self._kept.clear()
        self._kept_bytes = 0
