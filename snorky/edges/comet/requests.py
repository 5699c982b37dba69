"""What the requests to a Comet address are answered, whatever HTTP server has read them.

Who may ask, for which session, and what comes of it; every request is asked where its page comes
from and who sends it. What is said in a session is in ``snorky.protocols.comet``, how long it
lives in ``sessions``. A door brings an ``Exchange`` for each request.

Session ids travel in the query, which logs leave out: with an anonymous client they are all that
somebody else would need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple, Protocol

from snorky import close_codes
from snorky.client import refuse_message
from snorky.edges.comet.sessions import Endpoint, HTTPSession
from snorky.edges.handshakes import REFUSAL_TYPE, admit, log_refused_page, page_of, why_refused
from snorky.edges.lasting_sessions import has_room
from snorky.edges.pace import Pace
from snorky.identity import Handshake, Refused
from snorky.log import printable
from snorky.metrics import metrics
from snorky.protocols.comet import (
    HEARTBEAT,
    OPEN_EVENT,
    PADDING,
    BadRequest,
    Missed,
    batch_in,
    close_event,
    event,
    poll_answer,
    position_in,
)
from snorky.wire import encode

JSON_TYPE = "application/json; charset=UTF-8"
NO_SESSION = "No such session: start anew"

READ_PAST_LIMIT = 4
"""How many times the limit of a body is read, and dropped, so that the answer arrives."""

HeaderFields = dict[str, str]


class Exchange(Protocol):
    """One request and its response. Nothing is written once ``gone``, and nothing raises then."""

    gone: bool
    """The peer has left, or was cut."""
    refusal: str
    """Why it was refused, for the log; empty where it was not."""
    woken: asyncio.Event
    """Set when the peer leaves, and by whoever has something for it."""

    @property
    def asked(self) -> str:
        """The method."""

    @property
    def handshake(self) -> Handshake: ...

    @property
    def unsent_bytes(self) -> int:
        """What was given to it, and not to the operating system as far as the server tells."""

    async def read_body(self) -> bytes:
        """The whole body, of a request whose body is wanted. Raises Refused past the limit."""

    async def answer(self, status: int, headers: HeaderFields, body: bytes) -> None:
        """The whole response; returns when the operating system has it."""

    async def begin(self, headers: HeaderFields) -> None:
        """Begin a response that goes on."""

    async def write_chunk(self, chunk: bytes) -> None:
        """Returns when the operating system has it."""

    async def end(self) -> None:
        """End the response that was begun."""

    def abort(self) -> None:
        """Cut the connection: its peer does not read."""


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE


class Inquiry:
    """One request, in two steps: who asks for what, and, behind its body, the answer.

    ``name`` is the path below the address, one of ``ACTIONS``.
    """

    def __init__(self, endpoint: Endpoint, name: str, exchange: Exchange) -> None:
        self._endpoint = endpoint
        self._name = name
        self._exchange = exchange
        self._identity: Any = None
        self._refused: Refused | None = None
        self._headers = {
            "Vary": "Origin",
            "Cache-Control": "no-store, no-transform",
            "X-Content-Type-Options": "nosniff",
        }

    async def admit(self) -> bool:
        """Decide what needs no body. Returns whether the body is wanted: else it need not be kept.

        Strangers could make us keep what they like if everybody was let talk first.
        """
        endpoint, name, exchange = self._endpoint, self._name, self._exchange
        try:
            _allow_method(name, exchange, self._headers)
            _allow_page(endpoint, exchange, self._headers)
            if exchange.asked == "OPTIONS":
                return False
            self._identity = await _admit(endpoint, exchange)
            if not ACTIONS[name].has_body:
                return False
            _session(endpoint, exchange, self._identity)
        except Refused as refused:
            self._refused = refused
            return False
        return True

    async def answer(self) -> None:
        exchange, headers = self._exchange, self._headers
        answer: Answer | None
        try:
            if self._refused is not None:
                raise self._refused
            if exchange.gone:
                return
            if exchange.asked == "OPTIONS":
                headers["Access-Control-Max-Age"] = "86400"
                headers["Access-Control-Allow-Methods"] = allowed_methods(self._name)
                headers["Access-Control-Allow-Headers"] = (
                    "Authorization, Content-Type, Last-Event-ID"
                )
                answer = Answer(204)
            else:
                action = ACTIONS[self._name]
                answer = await action.run(self._endpoint, exchange, self._identity, headers)
        except Refused as refused:
            exchange.refusal = why_refused(refused)
            answer = Answer(refused.status, refused.reason.encode("utf-8", "replace"), REFUSAL_TYPE)
        if answer is not None and not exchange.gone:
            if answer.body:
                headers["Content-Type"] = answer.content_type
            await exchange.answer(answer.status, headers, answer.body)


def allowed_methods(name: str) -> str:
    return f"OPTIONS, {ACTIONS[name].method}"


def _allow_method(name: str, exchange: Exchange, headers: HeaderFields) -> None:
    if exchange.asked not in ("OPTIONS", ACTIONS[name].method):
        headers["Allow"] = allowed_methods(name)
        raise Refused(405, "Method Not Allowed")


def _allow_page(endpoint: Endpoint, exchange: Exchange, headers: HeaderFields) -> None:
    """Refuse the request, or let its page read the answer (CORS)."""
    handshake = exchange.handshake
    origin = handshake.origin
    page = page_of(handshake.headers)
    if page != origin and page is not None:
        handshake = replace(handshake, headers=_WithOrigin(handshake.headers, page))
    if page is not None and not endpoint.check_origin(handshake):
        metrics.clients_refused += 1
        log_refused_page(page, handshake.host, handshake.remote_address)
        raise Refused(403, f"Cross origin requests not allowed: {page}")
    if origin is not None:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"


class _WithOrigin(Mapping[str, str]):
    """Header fields that name no origin, with the one that was found out."""

    def __init__(self, fields: Mapping[str, str], origin: str) -> None:
        self._fields = fields
        self._origin = origin

    def __getitem__(self, name: str) -> str:
        return self._origin if name.lower() == "origin" else self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return chain(self._fields, ("Origin",))

    def __len__(self) -> int:
        return len(self._fields) + 1


async def _admit(endpoint: Endpoint, exchange: Exchange) -> Any:
    try:
        return await admit(endpoint.registry, exchange.handshake)
    except Refused:
        metrics.clients_refused += 1
        raise


def _argument(exchange: Exchange, name: str) -> str:
    values = exchange.handshake.arguments.get(name)
    return values[-1] if values else ""


def _session(endpoint: Endpoint, exchange: Exchange, identity: Any) -> HTTPSession:
    """The session that the request names.

    Another client's session is none, and whether it exists is not told.
    """
    session = endpoint.sessions.get(_argument(exchange, "session"))
    if session is None or session.identity != identity:
        raise Refused(410, NO_SESSION)
    return session


# What may be asked


async def _open(
    endpoint: Endpoint, exchange: Exchange, identity: Any, headers: HeaderFields
) -> Answer:
    if not has_room(endpoint):
        metrics.clients_refused += 1
        raise Refused(503, "Too many sessions")
    session = HTTPSession(endpoint, exchange.handshake, identity)
    session.open()
    opened = {
        "session": session.id,
        "heartbeatInterval": endpoint.heartbeat_interval,
        "disconnectDelay": endpoint.disconnect_delay,
    }
    return Answer(200, encode(opened))


async def _close(
    endpoint: Endpoint, exchange: Exchange, identity: Any, headers: HeaderFields
) -> Answer:
    """Its client says goodbye."""
    _session(endpoint, exchange, identity).close()
    return Answer(204)


async def _take_messages(
    endpoint: Endpoint, exchange: Exchange, identity: Any, headers: HeaderFields
) -> Answer | None:
    """Takes messages from the client, each once, however often it sends them."""
    session = _session(endpoint, exchange, identity)
    body = await exchange.read_body()
    if exchange.gone:
        return None  # not all of it has come
    client = session.client
    if client is not None:  # else its goodbye is on the way
        try:
            first, after, messages = batch_in(body)
            if after is not None:
                session.acknowledge(after)
            pace = Pace(endpoint.registry.limits)
            for number, message in enumerate(messages, first):
                session.deliver(number, message)
                await pace.message_done()
                await session.room()
        except BadRequest as error:
            address = printable(exchange.handshake.remote_address)
            refuse_message(client, f"{error}. From client {address}")
            raise Refused(400, str(error)) from error
    return Answer(200, encode({"received": session.received}))


async def _stream(
    endpoint: Endpoint, exchange: Exchange, identity: Any, headers: HeaderFields
) -> None:
    """Server-Sent Events: a response that goes on."""
    session = _session(endpoint, exchange, identity)
    receiver = _attach(session, exchange)
    headers["Content-Type"] = "text/event-stream; charset=UTF-8"
    headers["X-Accel-Buffering"] = "no"  # nginx would keep the events
    try:
        await exchange.begin(headers)
        await exchange.write_chunk(PADDING + OPEN_EVENT)
        room = endpoint.response_limit
        while room > 0 and not receiver.ended:
            messages = session.take()
            if messages:
                first = session.taken - len(messages) + 1
                chunk = b"".join(event(number, text) for number, text in enumerate(messages, first))
                room -= len(chunk)
                await exchange.write_chunk(chunk)
            elif session.close_code is not None:
                await exchange.write_chunk(close_event(session.close_code))
                break
            elif session.take_heartbeat():
                await exchange.write_chunk(HEARTBEAT)
            else:
                await receiver.wait()
        await exchange.end()
    finally:
        receiver.detach()


async def _poll(
    endpoint: Endpoint, exchange: Exchange, identity: Any, headers: HeaderFields
) -> None:
    """Long polling: a response for each delivery, empty ones as a sign of life."""
    session = _session(endpoint, exchange, identity)
    receiver = _attach(session, exchange)
    try:
        while not receiver.ended:
            messages = session.take()
            if messages or session.closed or session.take_heartbeat():
                # The goodbye goes alone: what still waits is before it.
                goodbye = None if messages else session.close_code
                headers["Content-Type"] = JSON_TYPE
                answer = poll_answer(session.taken, messages, goodbye)
                await exchange.answer(200, headers, answer)
                return
            await receiver.wait()
    finally:
        receiver.detach()
    raise Refused(409, "Another request has come in the place of this one")


class _Receiver:
    """A response that takes messages from its session."""

    def __init__(self, session: HTTPSession, exchange: Exchange) -> None:
        self.exchange = exchange
        self._replaced = False
        self._session = session
        self._cut: asyncio.TimerHandle | None = None

    @property
    def ended(self) -> bool:
        return self._replaced or self.exchange.gone

    async def wait(self) -> None:
        """Until the session has something, or the peer has gone."""
        woken = self.exchange.woken
        try:
            await woken.wait()
        except asyncio.CancelledError:
            # So servers end what would go on for ever: there is time for a goodbye.
            self._session.close(*close_codes.GOING_AWAY)
            loop = asyncio.get_running_loop()
            self._cut = loop.call_later(self._session.close_timeout, self.exchange.abort)
        woken.clear()

    def detach(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
        self._session.detach(self)

    # What a session asks of its receiver

    @property
    def unsent_bytes(self) -> int:
        return self.exchange.unsent_bytes

    def wake(self) -> None:
        self.exchange.woken.set()

    def replace(self) -> None:
        self._replaced = True
        if self.unsent_bytes:  # nobody may be reading it
            self.exchange.abort()
        self.exchange.woken.set()

    def abort(self) -> None:
        self.exchange.abort()


def _attach(session: HTTPSession, exchange: Exchange) -> _Receiver:
    # What a browser's EventSource names when it comes back by itself is newer than the query.
    after = exchange.handshake.headers.get("Last-Event-ID") or _argument(exchange, "after") or "0"
    receiver = _Receiver(session, exchange)
    try:
        session.attach(receiver, position_in(after))
    except BadRequest as error:
        raise Refused(400, str(error)) from error
    except Missed as missed:
        raise Refused(410, str(missed)) from missed
    return receiver


class Action(NamedTuple):
    method: str
    run: Callable[[Endpoint, Exchange, Any, HeaderFields], Awaitable[Answer | None]]
    has_body: bool = False


ACTIONS = {
    "": Action("POST", _open),
    "/events": Action("GET", _stream),
    "/poll": Action("GET", _poll),
    "/messages": Action("POST", _take_messages, has_body=True),
    "/close": Action("POST", _close),
}
"""What may be asked, by the path below the address."""
