"""A class of the application's for each Socket.IO connection, without services.

The interface of SocketTornad.IO, over today's protocol.
"""

from __future__ import annotations

import functools
import inspect
import re
import weakref
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import unquote

import msgspec
from socketio.packet import EVENT
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.routing import Matcher
from tornado.web import Application, HTTPError, RequestHandler

from snorky import visit
from snorky.client import Client
from snorky.hooks import HOOK_FAULTS, is_cancelled
from snorky.identity import Refused
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.log import printable, snorky_log
from snorky.request_handlers.socketio.carrier import Carrier
from snorky.request_handlers.socketio.server import (
    Line,
    SocketIOCore,
    SocketIOHandshake,
    log_failure,
    packets_of,
)

DEFAULT_PORT = 8888

_WEBSOCKET, _POLLING = "websocket", "polling"
PROTOCOLS = {
    "websocket": _WEBSOCKET,
    "flashsocket": _WEBSOCKET,
    "polling": _POLLING,
    "xhr-polling": _POLLING,
    "xhr-multipart": _POLLING,
    "jsonp-polling": _POLLING,
    "htmlfile": _POLLING,
}
"""What ``enabled_protocols`` may name, and which of today's two transports has taken its place."""


class Session(dict[str, Any]):
    """What the application keeps about one connection, for as long as it lasts."""

    def __init__(self, id: str) -> None:  # noqa: A002  # programs read session.id
        super().__init__()
        self.id = id

    def save(self) -> None:
        """Nothing is left to be done: the session is in memory already."""


class SocketIOHandler(RequestHandler):
    """One connection, whatever it travels by: there is one instance from its start to its end.

    ``request``, the cookies and ``settings`` are those of the request that opened it.
    """

    limits: ClassVar[Limits] = DEFAULT_LIMITS
    """Sizes and counts of every connection of this class."""
    allowed_origins: ClassVar[Sequence[str] | None] = None
    """See ``snorky.identity.origin_allowed``."""
    ping_interval: ClassVar[float] = 25
    """Seconds between two pings."""
    ping_timeout: ClassVar[float] = 20
    """Seconds that a peer may take to answer one. Past it it is disconnected."""

    session: Session
    auth: Any = None
    """What the page gave as ``auth``."""
    _line: Line

    @classmethod
    def routes(
        cls, resource: str, extraRE: str | None = None, extraSep: str = ""
    ) -> tuple[Matcher, type[Carrier], dict[str, Any]]:
        """The route of this class, one, for ``tornado.web.Application``.

        ``resource`` is the path that pages name; where ``extraRE`` is given, the path goes on with
        ``extraSep`` and what that matches. Both are regular expressions: their named groups reach
        ``on_open`` as keywords, the others as arguments, and what ``extraRE`` matched as ``extra``.
        """
        if cls.on_message is SocketIOHandler.on_message:
            raise TypeError(f"expected {cls.__name__} to define on_message")
        pattern = "/" + resource.strip("/")
        if extraRE is not None:
            pattern += f"{re.escape(extraSep)}(?P<{_EXTRA}>{extraRE})"
        path = _Path(pattern)
        core = SocketIOCore(
            {"/": functools.partial(_HandlerPeer, cls, path)},
            cls.limits,
            ping_interval=cls.ping_interval,
            ping_timeout=cls.ping_timeout,
        )
        options = {"engine": core.eio, "allowed_origins": cls.allowed_origins}
        return path, _HandlerCarrier, options

    # What subclasses define

    def on_open(self, *args: Any, **kwargs: Any) -> Any:
        """A page connects. Return False, or raise, to refuse it. May be ``async``."""

    def on_message(self, message: Any) -> Any:
        """The page sent ``message``, decoded. May be ``async``: the next one waits for it."""
        raise NotImplementedError

    def on_event(self, name: str, *args: Any) -> Any:
        """The page emitted an event that is not ``message``.

        What this and ``on_message`` return is the acknowledgement.
        """
        snorky_log.debug("Event of client %s ignored", printable(self.request.remote_ip))

    def on_close(self) -> Any:
        """The connection has ended. Called once, only where it was accepted. May be ``async``."""

    # What subclasses, and others who keep the instance, call

    def send(self, message: Any) -> None:
        """Send ``message``: a str as it is, bytes as they are, any other JSON value.

        The page gets the event ``message``. Does nothing once the connection has ended.
        """
        self.emit("message", message)

    def emit(self, name: str, *args: Any) -> None:
        """Send the event ``name``. Raises TypeError or ValueError for what cannot be encoded."""
        self._line.send(packets_of(EVENT, "/", [name, *map(_with_numbers, args)]))

    def close(self) -> None:
        """End the connection, behind what was sent."""
        self._line.close()

    @property
    def connected(self) -> bool:
        """False once the connection has ended."""
        return not self._line.ended

    @property
    def protocol(self) -> str:
        """How messages travel now: ``websocket`` or ``xhr-polling``. May change once."""
        return "websocket" if self._line.transport == _WEBSOCKET else "xhr-polling"


class SocketIOServer(HTTPServer):
    """Serves ``application`` at its setting ``socket_io_port``, until Ctrl-C.

    Returns at once where an event loop runs already, which then serves it.
    """

    def __init__(self, application: Application, **options: Any) -> None:
        super().__init__(application, **options)
        warn_of_gone_settings(application)
        _enabled_transports(application)  # raises for names that nobody knows
        self.listen(int(application.settings.get("socket_io_port", DEFAULT_PORT)))
        loop = IOLoop.current()
        if not loop.asyncio_loop.is_running():  # type: ignore[attr-defined]
            try:
                loop.start()
            except KeyboardInterrupt:
                self.stop()


_EXTRA = "snorky_extra"


class _Path(Matcher):
    """The path of a handler. Tornado's own matcher refuses groups of both kinds in one pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return None if self._match(request.path) is None else {}

    def groups(self, path: str) -> tuple[list[str | None], dict[str, str | None]]:
        """What ``on_open`` is called with."""
        match = self._match(path)
        assert match is not None  # it has been routed here
        kwargs = {name: _unquoted(text) for name, text in match.groupdict().items()}
        if _EXTRA in kwargs:
            kwargs["extra"] = kwargs.pop(_EXTRA)
        named = set(self._pattern.groupindex.values())
        groups = enumerate(match.groups(), 1)
        return [_unquoted(text) for number, text in groups if number not in named], kwargs

    def _match(self, path: str) -> re.Match[str] | None:
        # Clients of today end the path with a slash.
        return self._pattern.fullmatch(path.removesuffix("/") or "/")


class _HandlerCarrier(Carrier):
    """Requests and WebSockets for a SocketIOHandler."""

    def prepare(self) -> None:
        warn_of_gone_settings(self.application)
        self.engine.use_transports(_enabled_transports(self.application))
        super().prepare()


class _HandlerPeer(Client):
    """Tells a SocketIOHandler what its connection has to tell."""

    def __init__(self, handler_class: type[SocketIOHandler], path: _Path, line: Line) -> None:
        self.remote_address = line.origin.handshake.remote_address
        self.log_lines_left = handler_class.limits.max_log_lines_per_client
        self._path = path
        self._line = line
        self._class = handler_class
        self._counted = False

    async def admit(self, handshake: SocketIOHandshake) -> None:
        args, kwargs = self._path.groups(handshake.path)
        try:
            self._handler = handler = self._new_handler(handshake)
            accepted = handler.on_open(*args, **kwargs)
            if inspect.isawaitable(accepted):
                accepted = await accepted
        except Refused:
            raise
        except HTTPError as error:
            raise Refused(error.status_code, error.log_message or "Refused") from error
        except HOOK_FAULTS as error:
            if is_cancelled():
                raise
            self._failed("on_open", error)
            raise Refused(500, "Internal error") from error
        if accepted is False or self._line.ended:
            raise Refused(403, "Refused")

    def opened(self) -> None:
        """The handler knows already."""
        visit.comes(self, self._class.limits)
        self._counted = True

    async def event(self, name: str, arguments: list[Any], ack_id: int | None) -> None:
        handler = self._handler
        method = "on_message" if name == "message" else "on_event"
        try:
            if name == "message":
                answer = handler.on_message(arguments[0] if arguments else None)
            else:
                answer = handler.on_event(name, *arguments)
            if inspect.isawaitable(answer):
                answer = await answer
            if ack_id is not None:
                answers = [] if answer is None else [_with_numbers(answer)]
                self._line.acknowledge(ack_id, *answers)
        except HOOK_FAULTS as error:
            if is_cancelled():
                raise
            self._failed(method, error)

    def left(self) -> None:
        visit.goes(self, None, counted=self._counted)
        self._line.start(self._tell_of_close())

    async def _tell_of_close(self) -> None:
        try:
            closing = self._handler.on_close()
            if inspect.isawaitable(closing):
                await closing
        except HOOK_FAULTS as error:
            if is_cancelled():
                raise
            self._failed("on_close", error)

    def _new_handler(self, handshake: SocketIOHandshake) -> SocketIOHandler:
        origin = self._line.origin
        handler = self._class(origin.application, origin.request)
        handler.session = Session(self._line.sid)
        handler.auth = handshake.auth
        handler._line = self._line
        return handler

    def _failed(self, method: str, error: BaseException) -> None:
        text = f"Unhandled exception in {method} of {self._class.__name__}, client "
        log_failure(self, text + printable(self.remote_address), error)


def _unquoted(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _enabled_transports(application: Application) -> list[str]:
    names = application.settings.get("enabled_protocols") or PROTOCOLS
    unknown = [name for name in names if name not in PROTOCOLS]
    if unknown:
        raise ValueError(
            f"enabled_protocols: expected names of {', '.join(PROTOCOLS)}, got {unknown}"
        )
    return sorted({PROTOCOLS[name] for name in names})


_warned: weakref.WeakSet[Application] = weakref.WeakSet()


def warn_of_gone_settings(application: Application) -> None:
    """Say once which settings have no meaning any more."""
    if application not in _warned:
        _warned.add(application)
        for name in ("flash_policy_file", "flash_policy_port"):
            if name in application.settings:
                snorky_log.warning("%s is ignored: there is no Flash any more", name)


_numbers = msgspec.json.Encoder(decimal_format="number")


def _with_numbers(value: Any) -> Any:
    """``value`` with each Decimal in it as a number that is written as exactly as it is."""
    if isinstance(value, Decimal):
        return msgspec.Raw(_numbers.encode(value))
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_numbers(item) for item in value]
    return value
