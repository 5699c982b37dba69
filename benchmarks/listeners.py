"""Subscribers of one channel at several processes of one server, and who publishes to it.

Knows what is said in each protocol, and counts every byte: all messages are the same, so a message
that is lost, doubled or another one gives a wrong count. Leaves what it costs to cluster.py.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness import BenchmarkError

MESSAGE = "x" * 60
SECONDS_TO_ARRIVE = 120


def _call(command: str, **params: str) -> str:
    message = {"command": command, "params": params, "callId": 0}
    return json.dumps({"service": "pubsub", "message": message})


def _notification(separators: tuple[str, str] | None) -> str:
    message = {"type": "message", "channel": "news", "message": MESSAGE}
    return json.dumps({"service": "pubsub", "message": message}, separators=separators)


@dataclass(frozen=True)
class Dialect:
    path: str
    subscribe: str
    answered: bytes
    """What the answer to it holds."""
    publish: str
    delivered: str
    greeting: str = ""
    welcome: bytes = b""
    """What the answer to the greeting holds."""


SNORKY = Dialect(
    "/ws",
    _call("subscribe", channel="news"),
    b"response",
    _call("publish", channel="news", message=MESSAGE),
    _notification((",", ":")),
)
DIALECTS = {
    "snorky": SNORKY,
    "channels": Dialect("/ws", SNORKY.subscribe, b"response", SNORKY.publish, _notification(None)),
    "socketio": Dialect(
        "/socket.io/?EIO=4&transport=websocket",
        '420["subscribe","news"]',
        b"430",
        f'420["publish","news","{MESSAGE}"]',
        f'42["message","{MESSAGE}"]',
        "40",
        b"40{",
    ),
}


def connect(port: int, dialect: Dialect) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET {dialect.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        "".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _some(connection, 1)
    if dialect.greeting:
        connection.sendall(_masked(dialect.greeting))
        _read_until(connection, dialect.welcome)
    return connection


class Crowd:
    """``number`` subscribers, spread over the processes that listen at ``ports``."""

    def __init__(self, ports: Sequence[int], number: int, dialect: Dialect) -> None:
        self._dialect = dialect
        self._selector = selectors.DefaultSelector()
        self._received = 0
        self.connections = [connect(ports[each % len(ports)], dialect) for each in range(number)]
        for each in self.connections:
            each.sendall(_masked(dialect.subscribe))
            # The answer says that it is subscribed. Messages come after it.
            _read_until(each, dialect.answered)
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ)

    def hear(self, publisher: socket.socket, messages: int, rate: float | None) -> int:
        """Have so many published, all at once or so many a second, and wait until everybody has
        everything. Returns how many deliveries that were."""
        frame = _masked(self._dialect.publish)
        text = len(self._dialect.delivered)
        wanted = messages * len(self.connections) * (text + (2 if text < 126 else 4))
        self._received = 0
        if rate is None:
            publisher.sendall(frame * messages)
        else:
            for _ in range(messages):
                publisher.sendall(frame)
                self._read(1 / rate)
        ends = time.monotonic() + SECONDS_TO_ARRIVE
        while self._received < wanted and time.monotonic() < ends:
            self._read(0.02)
        self._read(0.2)
        if self._received != wanted:
            raise BenchmarkError(f"expected {wanted} bytes, got {self._received}")
        return messages * len(self.connections)

    def _read(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                self._received += len(_some(key.fileobj, 1 << 20))  # type: ignore[arg-type]

    def close(self) -> None:
        self._selector.close()
        for each in self.connections:
            each.close()


def _masked(text: str) -> bytes:
    """A frame of a client, with a mask of zeros."""
    data = text.encode()
    size = len(data)
    head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + bytes(4) + data


def _read_until(connection: socket.socket, text: bytes) -> None:
    received = b""
    connection.settimeout(SECONDS_TO_ARRIVE)
    while text not in received:
        received += _some(connection, 1000)


def _some(connection: socket.socket, most: int) -> bytes:
    """What has come; raises BenchmarkError where nothing will."""
    received = connection.recv(most)
    if not received:
        raise BenchmarkError("a server closed a connection")
    return received
