"""From raw text to the service it is addressed to, and who may connect at all."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from snorky import close_codes
from snorky.attendance import Attendance
from snorky.client import Client, Peer, refuse_message
from snorky.hashable import hashable
from snorky.hooks import HOOK_FAULTS, is_cancelled
from snorky.identity import Authenticate, Authenticated, Handshake, Refused
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.log import printable, snorky_log
from snorky.running import Running
from snorky.wire import MalformedMessage, decode

_SHORT = 1000
"""Bytes, or characters, of messages that are not worth a look at how many objects they hold."""


class ServiceRegistry:
    """A set of services that clients reach together.

    Several request handlers may share one registry, and several registries may live in one
    process: a public front end and a private back end. ``limits`` bound the connections and,
    where given, every service that is registered.
    """

    def __init__(
        self,
        services: Iterable[Any] | None = None,
        *,
        authenticate: Authenticate | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.registered_services: dict[str, Any] = {}
        self.clients: set[Peer] = set()
        """Clients connected now."""
        self.limits = limits or DEFAULT_LIMITS
        self._authenticate = authenticate
        self._attendance = Attendance(self.client_expired)
        self._services_share_limits = limits is not None
        self._running = Running()
        for service in services or ():
            if getattr(service, "name", None) in self.registered_services:
                raise ValueError(f"expected services of different names, got two {service.name!r}")
            self.register_service(service)

    def register_service(self, service: Any) -> None:
        """Make ``service`` reachable under its name, in the place of another of that name."""
        if isinstance(service, type):
            raise TypeError(
                f"expected a service, such as {service.__name__}('name'); got the class"
            )
        self.registered_services[service.name] = service
        if self._services_share_limits:
            service.limits = self.limits
        self._running.is_complete = False

    def unregister_service(self, service: Any) -> None:
        """Raises KeyError where ``service`` is not registered."""
        name = service.name
        if self.registered_services.get(name) is not service:
            raise KeyError(name)
        del self.registered_services[name]

    async def start(self) -> None:
        """Start the services, and before them their brokers, each of them once.

        Whoever serves the registry calls it: ``snorky serve``, the lifespan of an ASGI application;
        else it is done when the first client comes. A program may call it itself, to learn early
        what fails. Raises what a service or broker raises; what was started before it has been
        stopped then.
        """
        await self._running.start(self.registered_services.values())

    async def be_started(self) -> None:
        """Start what does not run yet, before somebody comes in. Raises Refused if that fails."""
        if self._running.is_complete:
            return
        try:
            await self.start()
        except HOOK_FAULTS as error:
            if is_cancelled():
                raise
            snorky_log.exception("Unhandled exception while starting the services")
            raise Refused(503, "Not started") from error

    async def stop(self) -> None:
        """Stop what was started, last first, when all clients have gone. It can start again."""
        await self._running.stop()

    async def authenticate(self, handshake: Handshake) -> Any:
        """Say who is connecting: becomes ``client.identity``; None is anonymous.

        An ``Authenticated`` says too until when.

        Called before the connection is accepted; raise ``Refused`` to turn the peer away.
        Override it, or pass ``authenticate=``, a plain or ``async`` function of the handshake.
        """
        if self._authenticate is None:
            return None
        identity = self._authenticate(handshake)
        return await identity if inspect.isawaitable(identity) else identity

    async def admit(self, handshake: Handshake) -> Any:
        """Return the identity of a peer that may connect.

        Raises Refused for every other, also where ``authenticate`` fails: who cannot be checked
        does not come in.
        """
        await self.be_started()
        try:
            identity = self.authenticate(handshake)
            # An override may be a plain method.
            return await identity if inspect.isawaitable(identity) else identity
        except Refused:
            raise
        except HOOK_FAULTS as error:
            if is_cancelled():
                raise
            snorky_log.exception(
                "Unhandled exception while authenticating %s", printable(handshake.remote_address)
            )
            raise Refused(500, "Internal error") from error

    def process_message_raw(self, client: Peer, text: str | bytes) -> None:
        """Hand over one message as it came. What is malformed is dropped with a warning."""
        if len(text) > _SHORT and self._refuse_heavy(client, text):
            return
        try:
            msg = decode(text)
        except MalformedMessage:
            shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
            refuse_message(
                client, f"Invalid JSON from client {_address(client)}: {printable(shown)}"
            )
            return
        self.process_message_from(client, msg)

    def _refuse_heavy(self, client: Peer, text: str | bytes) -> bool:
        """Refuse a message of too many arrays and objects. Returns whether it was one."""
        most = self.limits.max_message_containers
        # Who is trusted may send a thousand rows at once.
        if getattr(client, "is_trusted", False) or not _holds_more_than(most, text):
            return False
        refuse_message(
            client,
            f"Message of more than {most} arrays and objects from client {_address(client)}",
        )
        _answer(client, *_caller_in(text), "Too many arrays and objects")
        return True

    def process_message_from(self, client: Peer, msg: Any) -> None:
        """Hand over one decoded envelope. What is malformed is dropped with a warning.

        What a service raises is logged and ends here: one bad message must not cost anyone the
        connection.
        """
        if not isinstance(msg, dict) or "service" not in msg or "message" not in msg:
            refuse_message(
                client, f"Malformed message from client {_address(client)}: {printable(msg)}"
            )
            return
        name = msg["service"]
        service = self.registered_services.get(name) if isinstance(name, str) else None
        if service is None:
            refuse_message(
                client,
                f'Message for non existing service "{printable(name)}" '
                f"from client {_address(client)}",
            )
            message = msg["message"]
            call_id = message.get("callId") if isinstance(message, dict) else None
            _answer(client, name, call_id, "Unknown service")
            return
        try:
            message = hashable(msg["message"])
        except RecursionError:
            refuse_message(
                client, f"Malformed message from client {_address(client)}: nested too deeply"
            )
            return
        try:
            service.process_message_from(client, message)
        except HOOK_FAULTS:
            refuse_message(
                client,
                f'Unhandled exception in service "{name}", message from client {_address(client)}',
                status=500,
                exc_info=True,
            )

    def client_connected(self, client: Peer) -> None:
        """Tell every service of a new client."""
        self.clients.add(client)
        if getattr(client, "identity", None) is not None:
            self._attendance.enter(client)
        for service in tuple(self.registered_services.values()):
            service.client_connected(client)

    def client_disconnected(self, client: Peer) -> None:
        """Tell every service that a client has gone, also where one of them fails."""
        self.clients.discard(client)
        self._attendance.leave(client)
        for service in tuple(self.registered_services.values()):
            try:
                service.client_disconnected(client)
            except HOOK_FAULTS:
                snorky_log.exception(
                    'Unhandled exception in service "%s" while client %s disconnects',
                    service.name,
                    _address(client),
                )

    def renew(self, client: Peer, authenticated: Authenticated) -> None:
        """Let a client stay until ``authenticated.expires_at``, whatever was said before.

        Raises ValueError where it is somebody else's, or the client has gone.
        """
        if client not in self.clients:
            raise ValueError("expected a client that is connected")
        if client.identity is None or authenticated.identity != client.identity:
            raise ValueError("expected the identity that the client has")
        self._attendance.stay(client, authenticated.expires_at)

    def client_expired(self, client: Peer) -> None:
        """The identity of ``client`` has ended."""
        client.close(*close_codes.TOKEN_EXPIRED)

    def clients_of(self, identity: Any) -> tuple[Any, ...]:
        """All clients of ``identity``, which must be hashable: what they connected with."""
        return self._attendance.clients_of(identity)

    def disconnect(
        self,
        identity: Any,
        code: int = close_codes.DISCONNECTED.code,
        reason: str = close_codes.DISCONNECTED.reason,
    ) -> int:
        """Close all clients of ``identity``, which must be hashable; returns how many.

        That is the identity they connected with. They may come back as soon as ``authenticate``
        lets them.
        """
        clients = self.clients_of(identity)
        for client in clients:
            try:
                client.close(code, reason)
            except HOOK_FAULTS:
                snorky_log.exception("Unhandled exception while closing %s", _address(client))
        return len(clients)


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def _holds_more_than(most: int, text: str | bytes) -> bool:
    """Whether a JSON text has more than so many arrays and objects."""
    utf8 = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if _brackets_in(utf8) <= most:
        return False
    return _brackets_in(_STRING.sub(b"", utf8)) > most


def _brackets_in(utf8: bytes) -> int:
    return utf8.count(b"[") + utf8.count(b"{")


class _Call(msgspec.Struct, rename={"call_id": "callId"}):
    call_id: Any = None


class _Envelope(msgspec.Struct):
    service: str
    message: _Call


_callers = msgspec.json.Decoder(_Envelope)
"""Makes nothing of the rest of a message, which may be what is too much."""


def _caller_in(text: str | bytes) -> tuple[Any, Any]:
    """Service and call id of a message; None where it is no call."""
    try:
        envelope = _callers.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None, None
    return envelope.service, envelope.message.call_id


def _answer(client: Peer, service: Any, call_id: Any, error: str) -> None:
    """Answer a call that no service hears of, so that nobody waits for ever.

    Not where the edge has told its peer already.
    """
    tells = getattr(type(client), "message_refused", Client.message_refused)
    if isinstance(service, str) and call_id is not None and tells is Client.message_refused:
        answer = {"type": "error", "callId": call_id, "message": error}
        client.send({"service": service, "message": answer})


def _address(client: Peer) -> str:
    return printable(getattr(client, "remote_address", None))
