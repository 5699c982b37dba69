"""Socket.IO clients as clients of a registry.

The name of an event is the name of a service, its first argument the message; the acknowledgement
of a call is the response; what services send arrives as events that are named after them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from socketio.packet import EVENT

from snorky import visit
from snorky.client import Client
from snorky.edges.handshakes import admit
from snorky.envelope import Envelope
from snorky.request_handlers.socketio.carrier import Carrier
from snorky.request_handlers.socketio.server import (
    Line,
    SocketIOCore,
    SocketIOHandshake,
    packets_of,
)
from snorky.service_registry import ServiceRegistry
from snorky.services.base import RPCService


class SnorkySocketIOHandler(Carrier):
    """Accepts Socket.IO connections for the services of a registry.

    Subclasses may override ``check_origin``.
    """

    @classmethod
    def get_route(
        cls,
        service_registry: ServiceRegistry,
        path: str = "/socket.io",
        *,
        namespaces: Mapping[str, ServiceRegistry] | None = None,
        allowed_origins: Sequence[str] | None = None,
        ping_interval: float = 25,
        ping_timeout: float = 20,
    ) -> tuple[str, type[SnorkySocketIOHandler], dict[str, Any]]:
        """A route for ``tornado.web.Application``.

        ``namespaces`` gives other namespaces than ``/`` registries of their own. For
        ``allowed_origins`` see ``snorky.identity.origin_allowed``. A peer that does not answer a
        ping within ``ping_timeout`` seconds is disconnected. Sizes are those of the registry's
        limits.
        """
        registries = {"/": service_registry, **(namespaces or {})}
        peers = {
            namespace: functools.partial(SocketIOClient, registry, _Encoded(namespace))
            for namespace, registry in registries.items()
        }
        core = SocketIOCore(
            peers,
            service_registry.limits,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
        )
        options = {"engine": core.eio, "allowed_origins": allowed_origins}
        return f"{path.rstrip('/')}/?", cls, options


class _Encoded:
    """Envelopes as packets, made once for all receivers of a broadcast.

    The last one is kept: who broadcasts gives the same envelope to one client after the other.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._envelope: Envelope | None = None
        self._packets: list[Any] = []

    def packets(self, msg: Any) -> list[Any]:
        if msg is self._envelope:
            return self._packets
        if isinstance(msg, dict) and "service" in msg and "message" in msg:
            event = [msg["service"], msg["message"]]
        else:
            event = ["message", msg]  # what is no envelope, as Socket.IO's own ``send``
        packets = packets_of(EVENT, self._namespace, event)
        if type(msg) is Envelope:
            self._envelope, self._packets = msg, packets
        return packets


class _CallId(int):
    """The id of a call whose answer is an acknowledgement. ``given``: the page's own callId."""

    given: Any = None
    answered: bool = False


class SocketIOClient(Client):
    """A client that came by Socket.IO, to one namespace."""

    def __init__(self, registry: ServiceRegistry, encoded: _Encoded, line: Line) -> None:
        self.remote_address = line.origin.handshake.remote_address
        self.line = line
        self._registry = registry
        self._encoded = encoded
        self._refusal: str | None = None
        self._announced = False

    # What services call

    def send(self, msg: Any) -> None:
        message = msg.get("message") if isinstance(msg, dict) else None
        call = message.get("callId") if isinstance(message, dict) else None
        if type(call) is _CallId and isinstance(message, dict):
            self._answer(call, message)
        else:
            self.line.send(self._encoded.packets(msg))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closed with a code that lets it come back, a client of Socket.IO does so by itself.

        Socket.IO tells its clients nothing else of ``code`` and ``reason``.
        """
        may_come_back = code in (1001, 1011) or 3000 <= code < 3500 or 4000 <= code < 4500
        self.line.close(come_back=may_come_back)

    @property
    def unsent_bytes(self) -> int:
        return self.line.unsent_bytes

    def message_refused(self, reason: str, status: int = 400) -> None:
        self._refusal = "Internal error" if status >= 500 else "Message refused"

    def _answer(self, call: _CallId, message: dict[str, Any]) -> None:
        response = {key: value for key, value in message.items() if key != "callId"}
        if call.given is not None:
            response["callId"] = call.given
        self.line.acknowledge(int(call), response)
        call.answered = True

    # What the connection calls

    async def admit(self, handshake: SocketIOHandshake) -> None:
        """Ask the registry who this is. Raises Refused."""
        self.identity = await admit(self._registry, handshake)

    def opened(self) -> None:
        """The client is connected: the services are told."""
        self._announced = True
        visit.comes(self, self._registry.limits)
        visit.greet(self, self._registry.client_connected)

    async def event(self, name: str, arguments: list[Any], ack_id: int | None) -> None:
        """Hand an event to the service ``name``. ``ack_id``: None where none is wanted."""
        message = arguments[0] if arguments else None
        call = None
        if ack_id is not None and isinstance(message, dict) and self._is_call(name, message):
            call = _CallId(ack_id)
            call.given = message.get("callId")
            message = {**message, "callId": call}
        self._refusal = None
        self._registry.process_message_from(self, {"service": name, "message": message})
        if ack_id is None:
            return
        if self._refusal is not None:
            if call is None or not call.answered:
                error = {"type": "error", "message": self._refusal}
                self.line.acknowledge(ack_id, error)
        elif call is None:
            self.line.acknowledge(ack_id)  # it has arrived: no more is known of such a service

    def left(self) -> None:
        """The client has gone: the services are told."""
        self.connected = False
        if self._announced:
            visit.goes(self, self._registry.client_disconnected)

    def _is_call(self, name: str, message: dict[str, Any]) -> bool:
        service = self._registry.registered_services.get(name)
        return isinstance(service, RPCService) and "command" in message and "params" in message
