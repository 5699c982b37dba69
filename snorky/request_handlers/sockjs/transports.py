"""SockJS sessions over HTTP: a handler of Tornado's for each way to send and to receive.

Follows sockjs-protocol 0.3.3, whose chapters the comments name. Every request is asked where its
page comes from and who sends it; the sessions themselves are ``sessions``'s business.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from snorky.client import refuse_message
from snorky.edges.handshakes import admit
from snorky.edges.lasting_sessions import has_room
from snorky.edges.pace import Pace
from snorky.identity import Refused
from snorky.log import printable
from snorky.protocols.sockjs import (
    INTERRUPTED,
    OCCUPIED,
    BadPayload,
    close_frame,
    event_chunk,
    is_callback,
    jsonp_chunk,
    messages_in,
    script_chunk,
    xhr_chunk,
)
from snorky.request_handlers.requests import (
    end_with_the_connection,
    ends_with_the_connection,
    handshake_of,
)
from snorky.request_handlers.sockjs.pages import (
    HTML_TYPE,
    NOT_CACHED,
    TEXT_TYPE,
    SockJSRequestHandler,
)
from snorky.request_handlers.sockjs.sessions import Endpoint, HTTPSession

SCRIPT_TYPE = "application/javascript; charset=UTF-8"

# The protocol fixes it to the letter ("HtmlFile").
HTMLFILE_PAGE = r"""<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.%s;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>
"""


class _SessionHandler(SockJSRequestHandler):
    """A request that belongs to a session."""

    METHODS = "OPTIONS, POST"
    identity: Any = None

    def initialize(self, endpoint: Endpoint) -> None:
        super().initialize(endpoint)
        self.gone = False
        self._refused: Refused | None = None

    async def prepare(self) -> None:
        """Ask who it is, before anything is kept of what it sends."""
        await super().prepare()
        if self.request.method == "OPTIONS":
            return
        try:
            self.check_page()
            self.identity = await admit(self.endpoint.registry, handshake_of(self.request))
        except Refused as refused:
            self._refused = refused

    def is_admitted(self) -> bool:
        """False where the request has been answered with a refusal, or its peer has gone."""
        if self._refused is not None:
            self.refuse(self._refused)
            return False
        self.set_header("Cache-Control", NOT_CACHED)
        if self.endpoint.jsessionid:
            self._set_jsessionid()
        return not (self.gone or self.connection.stream.closed())

    def _set_jsessionid(self) -> None:
        """For load balancers that look for it ("JSESSIONID cookie")."""
        cookie = self.request.cookies.get("JSESSIONID")
        value = "dummy" if cookie is None else cookie.value
        if self.request.protocol == "https":
            self.set_cookie("JSESSIONID", value, samesite="None", secure=True)
        else:
            self.set_cookie("JSESSIONID", value)

    @property
    def connection(self) -> HTTP1Connection:
        return cast(HTTP1Connection, self.request.connection)

    def compute_etag(self) -> None:
        """Frames are never "not modified"."""

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.gone = True


class XHRSendHandler(_SessionHandler):
    """Takes messages from the client."""

    async def prepare(self) -> None:
        await super().prepare()
        self.keeps_body = self._refused is None and self._session_of_peer() is not None

    def _session_of_peer(self) -> HTTPSession | None:
        session = self.endpoint.sessions.get(self.path_kwargs.get("session_id", ""))
        if session is None or session.closed or session.identity != self.identity:
            return None
        return session

    async def post(self, **path: str) -> None:
        if not self.is_admitted():
            return
        session = self._session_of_peer()
        if session is None:
            self.answer(404, "No such session")
            return
        if self.body_bytes > self.endpoint.max_body_bytes:
            self.answer(413, f"Expected at most {self.endpoint.max_body_bytes} bytes")
            return
        try:
            messages = messages_in(self.payload())
        except BadPayload as error:
            client = session.handler.client
            refuse_message(client, f"{error} From client {printable(client.remote_address)}")
            self.answer(500, str(error))
            return
        handler = session.handler
        pace = Pace(self.endpoint.registry.limits)
        for message in messages:
            self.endpoint.deliver(handler, message)
            await pace.message_done()
            await session.room()
        self.accepted()

    def payload(self) -> str | bytes:
        return bytes(self.body)

    def accepted(self) -> None:
        self.set_status(204)
        self.set_header("Content-Type", TEXT_TYPE)
        self.flush()  # Tornado's finish would take the type away, and Firefox expect XML
        self.finish()


class JSONPSendHandler(XHRSendHandler):
    """The same for forms."""

    def payload(self) -> str | bytes:
        content_type = self.request.headers.get("Content-Type", "")
        if not content_type.startswith("application/x-www-form-urlencoded"):
            return super().payload()
        try:
            fields = parse_qs(self.body.decode(), max_num_fields=100)
        except ValueError as error:
            raise BadPayload("Payload expected.") from error
        return fields.get("d", [""])[0]

    def accepted(self) -> None:
        self.answer(200, "ok")  # browsers do odd things to a frame that is answered 204


class _ReceiverHandler(_SessionHandler):
    """A response that takes frames from its session, one after the other or one alone."""

    CONTENT_TYPE: ClassVar[str]
    PRELUDE: ClassVar[bytes] = b""
    POLLS: ClassVar[bool] = False
    """True where a response is one frame; others go on until ``response_limit``."""

    def initialize(self, endpoint: Endpoint) -> None:
        super().initialize(endpoint)
        self._woken = asyncio.Event()
        self._chunk_bytes = 0
        self._took_last = False

    def as_chunk(self, frame: bytes) -> bytes:
        raise NotImplementedError

    def prelude(self) -> bytes:
        return self.PRELUDE

    async def receive(self, session_id: str) -> None:
        if not self.is_admitted():
            return
        self._prepare_socket()
        session = self._session(session_id)
        if session is None:
            return
        self.set_header("Content-Type", self.CONTENT_TYPE)
        if not self.POLLS:
            self.set_header("X-Accel-Buffering", "no")  # nginx would keep the frames
            end_with_the_connection(self.request)
            self.write(self.prelude())
            self.flush()
        if not session.attach(self):
            self.finish(self.as_chunk(close_frame(*OCCUPIED)))
            return
        try:
            await self._take_all(session)
            if not self.POLLS and ends_with_the_connection(self.request):
                self.connection.stream.close()
        except StreamClosedError:
            self.gone = True
        finally:
            if self.gone:
                # What was under way may be lost ("Handling close").
                session.cut(INTERRUPTED)
            session.detach(self)

    def _session(self, session_id: str) -> HTTPSession | None:
        """The session of that name, opened where there is none."""
        sessions = self.endpoint.sessions
        session = sessions.get(session_id)
        if session is not None and session.identity != self.identity:
            self.refuse(Refused(403, "Session of another client"))
            return None
        if session is None:
            if not has_room(self.endpoint):
                self.refuse(Refused(503, "Too many sessions"))
                return None
            session = HTTPSession(self.endpoint, session_id, self.identity)
            session.open(self.request)
        return session

    async def _take_all(self, session: HTTPSession) -> None:
        room = 0 if self.POLLS else self.endpoint.response_limit
        while not self.gone:
            frame = session.take_frame()
            if frame is None:
                if session.closed:
                    await self.finish()
                    return
                await self._woken.wait()
                self._woken.clear()
                continue
            chunk = self.as_chunk(frame)
            room -= len(chunk)
            self._chunk_bytes = len(chunk)
            self.write(chunk)
            if room <= 0:
                # The client asks anew; browsers free what they have read only then.
                self._took_last = True
                await self.finish()
                self.gone = self.connection.stream.error is not None
                return
            await self.flush()

    def _prepare_socket(self) -> None:
        """Let the system tell soon of a client that does not read, or is not there any more."""
        sock = self.connection.stream.socket
        limits = self.endpoint.registry.limits
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.socket_send_buffer_bytes)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                milliseconds = int(2000 * self.endpoint.heartbeat_interval)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    # What a session asks of its receiver

    @property
    def unsent_bytes(self) -> int:
        return self._chunk_bytes if self.connection.stream.writing() else 0

    @property
    def finished(self) -> bool:
        return self._took_last and not self.connection.stream.writing()

    def wake(self) -> None:
        self._woken.set()

    def abort(self) -> None:
        self.connection.stream.close()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._woken.set()


class XHRHandler(_ReceiverHandler):
    CONTENT_TYPE = SCRIPT_TYPE
    POLLS = True

    async def post(self, session_id: str, **path: str) -> None:
        await self.receive(session_id)

    def as_chunk(self, frame: bytes) -> bytes:
        return xhr_chunk(frame)


class XHRStreamingHandler(XHRHandler):
    POLLS = False
    PRELUDE = b"h" * 2048 + b"\n"


class EventSourceHandler(_ReceiverHandler):
    METHODS = "OPTIONS, GET"
    CONTENT_TYPE = "text/event-stream; charset=UTF-8"
    PRELUDE = b"\r\n"

    async def get(self, session_id: str, **path: str) -> None:
        await self.receive(session_id)

    def as_chunk(self, frame: bytes) -> bytes:
        return event_chunk(frame)


class _CallbackHandler(_ReceiverHandler):
    """Calls a function of the page, which the request names."""

    METHODS = "OPTIONS, GET"

    async def get(self, session_id: str, **path: str) -> None:
        self.callback = self.get_query_argument("c", "", strip=False)
        if not self.callback:
            self.answer(500, '"callback" parameter required')
        elif not is_callback(self.callback):
            self.answer(500, 'invalid "callback" parameter')
        else:
            self.set_header("X-Content-Type-Options", "nosniff")
            await self.receive(session_id)


class HTMLFileHandler(_CallbackHandler):
    CONTENT_TYPE = HTML_TYPE

    def prelude(self) -> bytes:
        # Browsers show, and run, nothing before they have a kilobyte.
        return (HTMLFILE_PAGE % self.callback).encode().ljust(1025) + b"\r\n\r\n"

    def as_chunk(self, frame: bytes) -> bytes:
        return script_chunk(frame)


class JSONPHandler(_CallbackHandler):
    CONTENT_TYPE = SCRIPT_TYPE
    POLLS = True

    def as_chunk(self, frame: bytes) -> bytes:
        return jsonp_chunk(self.callback, frame)
