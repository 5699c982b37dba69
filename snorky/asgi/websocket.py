"""A client over an ASGI server's own WebSocket.

The server frames, masks and pings; here is what may wait for the client, how much it may say at
a time, and when it has gone. ASGI has one message per call, so nothing is joined here, and no way
to cut a connection: a client that does not read is let go of, and its connection is the server's
to end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from snorky import close_codes, visit
from snorky.asgi.scopes import ASGIHandshake, Receive, Scope, Send, handshake_of
from snorky.client import Client
from snorky.connection import HEARTBEAT_SUBPROTOCOL, SECONDS_PER_TURN
from snorky.edges.handshakes import REFUSAL_TYPE, admit, log_refused_page, select_subprotocol
from snorky.envelope import Envelope
from snorky.identity import Refused
from snorky.limits import Limits
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.protocols.websocket_frames import encode_close
from snorky.service_registry import ServiceRegistry
from snorky.wheel import wheel_of
from snorky.wire import encode

_MESSAGE_OVERHEAD = 64
"""What a message counts in the outbox beside its text: many short ones need memory too."""


class ASGIClient(Client):
    """A client at the other end of an ASGI server's WebSocket.

    ``scope`` is the ASGI scope in which it came.
    """

    def __init__(self, handshake: ASGIHandshake, identity: Any, limits: Limits) -> None:
        self.remote_address = handshake.remote_address
        self.identity = identity
        self.scope = handshake.scope
        self.closing: tuple[int, str] | None = None
        self._limits = limits
        self._outbox: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._writer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._messages_taken = 0
        self._messages_taken_before = 0
        self._turns_without_progress = 0

    def send(self, msg: Any) -> None:
        text = msg.text if type(msg) is Envelope else encode(msg)
        if self.connected and self.closing is None:
            metrics.messages_sent += 1
            self.send_text(text)

    def send_text(self, text: bytes) -> None:
        """Queue a text as it is; a client with too much waiting already is cut off."""
        if self.closing is not None:
            return
        if self._unsent_bytes > self._limits.max_unsent_bytes:
            visit.is_slow(self.remote_address, self._unsent_bytes, self._limits.max_unsent_bytes)
            self.closing = close_codes.SLOW_CLIENT
            self._cut()
            return
        self._outbox.append(text)
        self._unsent_bytes += len(text) + _MESSAGE_OVERHEAD
        self._filled.set()
        if self._unsent_bytes > self._limits.max_unsent_bytes // 2:
            self._emptied.clear()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye behind what was sent before; who does not read is cut in the end.

        Raises ValueError for codes that must not be sent.
        """
        if self.closing is not None or not self.connected:
            return
        frame = encode_close(code, reason)  # checks the code, and cuts the reason to what fits
        self.closing = (1000 if code == 1005 else code, frame[4:].decode())
        self._filled.set()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._limits.close_timeout, self._cut)

    @property
    def unsent_bytes(self) -> int:
        return self._unsent_bytes

    # The session's side

    async def run(self, reading: asyncio.Task[None], send: Send) -> None:
        """Until one side ends it: the peer (``reading`` is done), a close, or a cut."""
        self._writer = asyncio.create_task(self._write(send))
        tasks = {reading, self._writer}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.connected = False
            if self._timer is not None:
                self._timer.cancel()
            for task in tasks:
                task.cancel()
            # No result is lost: both log what goes wrong in them.
            await asyncio.gather(*tasks, return_exceptions=True)
            self._outbox.clear()
            self._unsent_bytes = 0

    async def wait_for_room(self) -> None:
        """Wait while half of what may wait for the client does.

        So its own answers never make it a slow client; only what others send to it does.
        """
        await self._emptied.wait()

    def ping_or_close(self) -> None:
        """Called twice per ``send_timeout``. The pings are the server's."""
        before, self._messages_taken_before = self._messages_taken_before, self._messages_taken
        if self._unsent_bytes == 0 or before != self._messages_taken:
            self._turns_without_progress = 0
            return
        self._turns_without_progress += 1
        if self._turns_without_progress == 2 and self.closing is None:
            visit.is_silent()
            self.closing = close_codes.SILENT_CLIENT
            self._cut()

    def _cut(self) -> None:
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self, send: Send) -> None:
        turn = Turn(self._limits)
        try:
            while self._outbox or self.closing is None:
                while self._outbox:
                    text = self._outbox.popleft()
                    await send({"type": "websocket.send", "text": text.decode()})
                    self._unsent_bytes -= len(text) + _MESSAGE_OVERHEAD
                    self._messages_taken += 1
                    if self._unsent_bytes <= self._limits.max_unsent_bytes // 4:
                        self._emptied.set()
                    await turn.message_done()
                if self.closing is None:
                    self._filled.clear()
                    await self._filled.wait()
            code, reason = self.closing
            await send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception as error:  # OSError by the specification; servers raise what they like
            snorky_log.debug("Client %s left: %r", printable(self.remote_address), error)


class Turn:
    """Lets other tasks run between the messages of one client: servers' queues never wait."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.max_messages_per_turn
        self._begin()

    def _begin(self) -> None:
        self._left = self._most
        self._deadline = monotonic() + SECONDS_PER_TURN

    async def message_done(self) -> None:
        self._left -= 1
        if self._left <= 0 or (not self._left & 7 and monotonic() > self._deadline):
            await asyncio.sleep(0)
            self._begin()


async def serve_websocket(
    registry: ServiceRegistry,
    check_origin: Callable[[ASGIHandshake], bool],
    scope: Scope,
    receive: Receive,
    send: Send,
    send_timeout: float,
) -> None:
    """Admit a WebSocket and serve it to its end.

    Seconds that go by while something waits for the client, and it takes nothing, are at most
    one and a half ``send_timeout``; then it is let go of.
    """
    if (await receive())["type"] != "websocket.connect":
        return
    handshake = handshake_of(scope)
    try:
        if handshake.origin is not None and not check_origin(handshake):
            log_refused_page(handshake.origin, handshake.host, handshake.remote_address)
            raise Refused(403, f"Cross origin websockets not allowed: {handshake.origin}")
        identity = await admit(registry, handshake)
    except Refused as refused:
        metrics.clients_refused += 1
        await refuse_websocket(scope, send, refused)
        return
    subprotocol = select_subprotocol(scope.get("subprotocols") or ())
    try:
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
    except OSError:
        return  # it left while it was being admitted
    client = ASGIClient(handshake, identity, registry.limits)
    visit.comes(client, registry.limits)
    wheel = wheel_of(asyncio.get_running_loop(), send_timeout / 2)
    slot = wheel.add(client)
    try:
        visit.greet(client, registry.client_connected)
        heartbeats = subprotocol == HEARTBEAT_SUBPROTOCOL
        reading = asyncio.create_task(_read(registry, client, receive, heartbeats=heartbeats))
        await client.run(reading, send)
    finally:
        wheel.remove(client, slot)
        visit.goes(client, registry.client_disconnected)


async def refuse_websocket(scope: Scope, send: Send, refused: Refused) -> None:
    """Answer with status and reason; a server without that extension can only say 403."""
    try:
        if "websocket.http.response" in (scope.get("extensions") or {}):
            body = refused.reason.encode("utf-8", "replace")
            headers = [
                (b"content-type", REFUSAL_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
            ]
            start = {"status": refused.status, "headers": headers}
            await send({"type": "websocket.http.response.start", **start})
            await send({"type": "websocket.http.response.body", "body": body})
        else:
            await send({"type": "websocket.close"})
    except OSError:
        pass  # it has left already


async def _read(
    registry: ServiceRegistry, client: ASGIClient, receive: Receive, *, heartbeats: bool
) -> None:
    turn = Turn(registry.limits)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            text = event.get("text")
            if text is None:
                text = event.get("bytes") or b""
            if client.closing is not None:
                pass  # read and dropped, until the peer has said goodbye too
            elif heartbeats and len(text) < 2 and not text.strip():
                # Some servers lose empty texts: a page whose own goes unanswered sends a space.
                client.send_text(b" " if text else b"")
            else:
                visit.speaks(client, text, registry.limits, registry.process_message_raw)
            await client.wait_for_room()
            await turn.message_done()
    except Exception:
        visit.failed(client)
        await asyncio.Event().wait()  # until the goodbye is written
