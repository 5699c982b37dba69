"""Comet over ASGI: Server-Sent Events and long polling, where no WebSocket comes through.

What is asked and answered is in ``snorky.edges.comet.requests``; here it is read and
written. ASGI does not tell what the operating system has not taken. ``send`` returns when the
server has taken a piece, and servers let it wait while what they took before does not leave. So
what counts as unsent is the piece that waits: besides it, as much as the server buffers may be
under way. A cut lets go of the connection; the server closes it when its buffer has left, or the
peer has.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from snorky import close_codes
from snorky.asgi.bodies import Body, Gone
from snorky.asgi.ending import ServerWatch
from snorky.asgi.scopes import ASGIHandshake, Message, Receive, Scope, Send, handshake_of
from snorky.edges.comet.requests import ACTIONS, READ_PAST_LIMIT, HeaderFields, Inquiry
from snorky.edges.comet.sessions import CometClient, Endpoint
from snorky.identity import Handshake, Refused
from snorky.log import printable, snorky_log
from snorky.protocols.comet import Session

BODY = "http.response.body"


class ASGICometClient(CometClient):
    """A client that came by Server-Sent Events or long polling.

    ``scope`` is the ASGI scope of the request that opened its session.
    """

    def __init__(self, session: Session, handshake: Handshake, identity: Any) -> None:
        super().__init__(session, handshake, identity)
        self.scope = cast(ASGIHandshake, handshake).scope  # every handshake of this edge is one


class CometEdge:
    """Answers what comes for an endpoint. ``prefix``: its address below the mount."""

    def __init__(self, endpoint: Endpoint, prefix: str) -> None:
        self.endpoint = endpoint
        self._names = {prefix.rstrip("/") + name or "/": name for name in ACTIONS}
        self._server_watch = ServerWatch(self._say_goodbye)

    def has(self, path: str) -> bool:
        return path in self._names

    async def answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        name = self._names[path]
        exchange = ASGIExchange(self.endpoint, scope, receive, send)
        if name == "/messages":
            await _respond(self.endpoint, name, exchange)
            return
        # What is in the body is nothing to us. Behind it we hear whether the peer has left.
        await exchange.drop_body()
        leaving = asyncio.create_task(exchange.watch())
        try:
            with self._server_watch:
                await _respond(self.endpoint, name, exchange)
        finally:
            leaving.cancel()

    async def end_sessions(self) -> None:
        """Say goodbye to everybody; returns when their services know."""
        self._say_goodbye()
        await asyncio.sleep(0)  # they are told in the next turn

    def _say_goodbye(self) -> None:
        for session in tuple(self.endpoint.sessions.values()):
            session.close(*close_codes.GOING_AWAY)


async def _respond(endpoint: Endpoint, name: str, exchange: ASGIExchange) -> None:
    """The server keeps little of a body until it is read: nothing has to be dropped meanwhile."""
    inquiry = Inquiry(endpoint, name, exchange)
    await inquiry.admit()
    await inquiry.answer()


class ASGIExchange:
    """One request to a Comet address, as an ``Exchange``."""

    def __init__(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked: str = scope["method"]
        self.handshake: Handshake = handshake_of(scope)
        self.gone = False
        self.refusal = ""
        self.woken = asyncio.Event()
        self.unsent_bytes = 0
        self._body = Body(receive, endpoint.max_body_bytes, READ_PAST_LIMIT)
        self._body_deadline = asyncio.get_running_loop().time() + endpoint.body_timeout
        self._receive = receive
        self._send = send
        self._task = asyncio.current_task()
        self._aborted = False

    async def watch(self) -> None:
        """Notice that the peer leaves."""
        while self._body.ended and not self.gone:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                self._leave()

    async def read_body(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._body_deadline):
                return await self._body.read()
        except TimeoutError as error:
            raise Refused(408, "The request did not come in time") from error
        except Gone:
            self._leave()
            return b""

    async def drop_body(self) -> None:
        try:
            async with asyncio.timeout_at(self._body_deadline):
                await self._body.drop()
        except Gone:
            self._leave()
        except TimeoutError:
            pass  # who does not send does not care for the answer

    async def answer(self, status: int, headers: HeaderFields, body: bytes) -> None:
        await self.drop_body()
        if status != 204:
            headers = {**headers, "Content-Length": str(len(body))}
        await self._start(status, headers)
        if body:
            await self.write_chunk(body)
        await self.end()

    async def begin(self, headers: HeaderFields) -> None:
        await self._start(200, headers)

    async def write_chunk(self, chunk: bytes) -> None:
        empty = {"type": BODY, "body": b"", "more_body": True}
        await self._give(len(chunk), {**empty, "body": chunk}, empty)

    async def end(self) -> None:
        await self._give(1, {"type": BODY, "body": b"", "more_body": False})

    def abort(self) -> None:
        self._leave()
        if self.unsent_bytes and self._task is not None:
            self._aborted = True
            self._task.cancel()

    async def _start(self, status: int, headers: HeaderFields) -> None:
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        start = {"type": "http.response.start", "status": status, "headers": raw}
        await self._give(1, start)

    async def _give(self, size: int, *messages: Message) -> None:
        """Returns when the server has taken the last; until then ``size`` bytes are unsent.

        Servers let a message wait while too much of the ones before has not left: so an empty one
        behind a chunk tells that most of it has.
        """
        try:
            for message in messages:
                if self.gone:
                    return
                self.unsent_bytes = size
                await self._send(message)
        except asyncio.CancelledError:
            if not self._aborted:
                raise
            assert self._task is not None
            self._task.uncancel()
        except Exception as error:  # OSError by the specification; servers raise what they like
            snorky_log.debug("Client %s left: %r", printable(self.handshake.remote_address), error)
            self._leave()
        finally:
            self.unsent_bytes = 0

    def _leave(self) -> None:
        self.gone = True
        self.woken.set()
