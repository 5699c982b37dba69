"""Clients that misbehave: python offender.py <kind> <port> <seconds>.

Prints how many bytes it got rid of, and how often it was thrown out.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import threading
import time
from typing import Any

from websockets.frames import Frame, Opcode

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def frame(opcode: Opcode, payload: bytes = b"", fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def call(service: str, command: str, **params: Any) -> bytes:
    message = {"command": command, "params": params, "callId": 0}
    return frame(Opcode.TEXT, json.dumps({"service": service, "message": message}).encode())


class Offender:
    """``flood`` and below it one method for each kind of offence."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.deadline = time.monotonic() + seconds
        self.sent_bytes = 0
        self.thrown_out = 0

    def flood(self, data: bytes, *, reading: bool = True) -> None:
        """Send ``data`` again and again, and come back when thrown out."""
        while self._may_go_on():
            with self._connect(reading=reading) as sock:
                while self._send(sock, data):
                    pass

    def _may_go_on(self) -> bool:
        return time.monotonic() < self.deadline

    def _connect(self, *, reading: bool = True) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.sendall(HANDSHAKE)
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
        sock.settimeout(0.2)
        if reading:
            threading.Thread(target=was_ended, args=[sock], daemon=True).start()
        return sock

    def _send(self, sock: socket.socket, data: bytes) -> bool:
        """Send all of ``data``; False when thrown out or out of time."""
        rest = memoryview(data)
        while rest and self._may_go_on():
            try:
                size = sock.send(rest)
            except TimeoutError:
                continue
            except OSError:
                self.thrown_out += 1
                return False
            self.sent_bytes += size
            rest = rest[size:]
        return self._may_go_on()

    # Kinds

    def calls(self) -> None:
        self.flood(call("echo", "echo", value=1) * 1000)

    def expensive_calls(self) -> None:
        self.flood(call("echo", "work") * 500)

    def calls_without_reading_answers(self) -> None:
        self.flood(call("echo", "echo", value="x" * 1000) * 100, reading=False)

    def calls_that_are_never_answered(self) -> None:
        self.flood(call("echo", "wait") * 1000)

    def subscriptions(self) -> None:
        numbers = itertools.count()
        with self._connect() as sock:
            while self._send(
                sock, b"".join(call("pubsub", "join", channel=next(numbers)) for _ in range(100))
            ):
                pass

    def publications(self) -> None:
        members = [self._connect() for _ in range(20)]
        for member in members:
            self._send(member, call("pubsub", "subscribe", channel="flood"))
        self.flood(call("pubsub", "publish", channel="flood", message="x" * 100) * 500)

    def a_flooded_channel_that_is_not_read(self) -> None:
        sleepers = [self._connect(reading=False) for _ in range(5)]
        for sleeper in sleepers:
            self._send(sleeper, call("pubsub", "subscribe", channel="flood"))
        self.flood(call("pubsub", "publish", channel="flood", message="x" * 1000) * 100)
        self.thrown_out += sum(map(was_ended, sleepers))

    def pings(self) -> None:
        self.flood(frame(Opcode.PING) * 10_000)

    def endless_fragments(self) -> None:
        self.flood(frame(Opcode.TEXT, fin=False) + frame(Opcode.CONT, fin=False) * 100_000)

    def broken_frames(self) -> None:
        self.flood(b"\xff" + os.urandom(1000))

    def text_that_is_no_json(self) -> None:
        self.flood(frame(Opcode.TEXT, b"{nonsense" * 3) * 1000)

    def unknown_services(self) -> None:
        self.flood(call("nobody", "home") * 1000)

    def invalid_calls(self) -> None:
        self.flood((call("echo", "echo") + call("echo", "no") + call("pubsub", "leave")) * 500)

    def the_longest_messages(self) -> None:
        self.flood(call("echo", "echo", value="x" * 65_000) * 10)

    def complicated_messages(self) -> None:
        self.flood(call("echo", "echo", value=[["x" * 24]] * 2000) * 10)

    def too_long_messages(self) -> None:
        self.flood(frame(Opcode.TEXT, b"x" * 70_000))

    def half_handshakes(self) -> None:
        stalled = []
        for size in itertools.islice(itertools.cycle(range(1, len(HANDSHAKE), 7)), 500):
            stalled.append(socket.create_connection(("127.0.0.1", self.port)))
            stalled[-1].sendall(HANDSHAKE[:size])
            self.sent_bytes += size
        time.sleep(max(0, self.deadline - time.monotonic()))  # stalling is the offence

    def huge_heads(self) -> None:
        head = HANDSHAKE[:-2] + b"".join(b"X-%d: %s\r\n" % (i, b"x" * 1000) for i in range(200))
        self._one_after_the_other([head])

    def huge_bodies(self) -> None:
        head = b"POST /backend HTTP/1.1\r\nHost: x\r\nX-Backend-Key: key\r\nConnection: close\r\n"
        size = 15 << 20
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        self._one_after_the_other(
            [
                head + b"Content-Length: %d\r\n\r\n" % size + bytes(size),
                head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 15 + b"0\r\n\r\n",
            ]
        )

    def _one_after_the_other(self, requests: list[bytes]) -> None:
        for request in itertools.cycle(requests):
            if not self._may_go_on():
                break
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.2) as sock:
                if self._send(sock, request):
                    self.thrown_out += was_ended(sock)


def was_ended(sock: socket.socket) -> bool:
    """Read until the server ends the connection; False when that takes longer than its time."""
    try:
        while sock.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


if __name__ == "__main__":
    os.nice(5)  # it stands for other machines, and must not take the processor from the server
    kind, port, seconds = sys.argv[1:]
    offender = Offender(int(port), float(seconds))
    getattr(offender, kind)()
    print(json.dumps({"sent_bytes": offender.sent_bytes, "thrown_out": offender.thrown_out}))
