"""SockJS over WebSocket, with frames for its own client and without for programs.

The handshake, the connection and its limits are SnorkyWebSocketHandler's. A session lives as long
as its WebSocket, whatever its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from snorky.client import refuse_message
from snorky.edges.pace import Pace
from snorky.log import printable
from snorky.protocols.sockjs import (
    BROKEN_DATA,
    INTERRUPTED,
    MAX_FRAME_BYTES,
    BadPayload,
    RawSession,
    Session,
    messages_in,
)
from snorky.protocols.websocket_frames import TEXT, encode_frame
from snorky.request_handlers.sockjs.pages import logged_path
from snorky.request_handlers.sockjs.sessions import Endpoint, SockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.wheel import PingWheel, wheel_of


class WebSocketHandler(SnorkyWebSocketHandler):
    """For the SockJS client ("WebSocket protocols")."""

    handler: SockJSHandler

    def __init__(
        self, application: Application, request: HTTPServerRequest, endpoint: Endpoint
    ) -> None:
        self.endpoint = endpoint
        super().__init__(
            application,
            request,
            service_registry=endpoint.registry,
            ping_pong_interval=endpoint.heartbeat_interval,
            allowed_origins=endpoint.allowed_origins,
        )
        self.session = self.make_session(endpoint.registry.limits.max_unsent_bytes)
        self._wheel: PingWheel | None = None
        self._slot = -1
        self._about_to_write = False

    def make_session(self, max_unsent_bytes: int) -> Session:
        return Session(max_unsent_bytes)

    def messages_in(self, payload: str | bytes) -> list[str]:
        return messages_in(payload) if payload else []

    def open(self, *args: str, **kwargs: str) -> None:
        self.handler = self.endpoint.handler_of(self.session, self.client.identity, self.request)
        self.session.attach(self)
        self.wake()
        self._wheel = wheel_of(asyncio.get_running_loop(), self.endpoint.heartbeat_interval)
        self._slot = self._wheel.add(self)
        request, self.request = self.request, None  # type: ignore[assignment]  # most of our memory
        self.endpoint.connect(self.handler, request)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        try:
            messages = self.messages_in(message)
        except BadPayload as error:
            refuse_message(
                self.client, f"{error} From client {printable(self.client.remote_address)}"
            )
            self.session.close(*BROKEN_DATA)
            return None
        pace = Pace(self.endpoint.registry.limits)
        for number, text in enumerate(messages, 1):
            self.endpoint.deliver(self.handler, text)
            if pace.is_up() and number < len(messages):
                return self._deliver_rest(messages[number:], pace)
        return None

    async def _deliver_rest(self, messages: list[str], pace: Pace) -> None:
        await pace.next_turn()
        for text in messages:
            self.endpoint.deliver(self.handler, text)
            await pace.message_done()

    def on_close(self) -> None:
        if self._wheel is None:
            return
        self._wheel.remove(self, self._slot)
        self.session.detach(self)
        self.session.close(*INTERRUPTED)
        self.endpoint.disconnect(self.handler, counted=False)

    def ping_or_close(self) -> None:
        """Called once per heartbeat interval, beside the pings of WebSocket itself."""
        self.session.heartbeat()

    # What a session asks of its receiver

    @property
    def unsent_bytes(self) -> int:
        return self.client.unsent_bytes

    @property
    def finished(self) -> bool:
        return False

    def wake(self) -> None:
        """Write when this turn of the loop ends: what is sent until then is one frame."""
        if self.session.unsent_bytes >= MAX_FRAME_BYTES:
            self._write()
        elif not self._about_to_write:
            self._about_to_write = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._about_to_write = False
        connection = self.client.connection
        if connection is None:
            return
        frames = [encode_frame(TEXT, frame) for frame in iter(self.session.take_frame, None)]
        if frames:
            connection.send_frame(b"".join(frames))
        if self.session.close_code is not None:
            self.say_goodbye()

    def say_goodbye(self) -> None:
        self.close()

    def abort(self) -> None:
        if self.client.connection is not None:
            self.client.connection.transport.abort()

    def logged_path(self) -> str:
        return logged_path(self)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", "GET")
        self.clear_header("Content-Type")
        self.finish()


class RawWebSocketHandler(WebSocketHandler):
    """For programs ("Raw WebSocket url")."""

    def make_session(self, max_unsent_bytes: int) -> Session:
        return RawSession(max_unsent_bytes)

    def messages_in(self, payload: str | bytes) -> list[str]:
        return [payload if isinstance(payload, str) else payload.decode("utf-8", "replace")]

    def say_goodbye(self) -> None:
        assert self.session.close_code is not None
        code, reason = self.session.close_code
        try:
            self.close(code, reason)
        except ValueError:  # SockJS takes any code, WebSocket does not
            self.close(reason=reason)
