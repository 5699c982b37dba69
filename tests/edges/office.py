"""The services behind every edge, and what they have seen of its clients."""

from __future__ import annotations

import time
from typing import Any

from snorky import ServiceRegistry
from snorky.client import Client
from snorky.identity import Authenticated, Handshake, Refused
from snorky.identity.jwt import JWTAuthenticator
from snorky.limits import KIB, Limits
from snorky.services.base import Request, RPCError, RPCService, Service, rpc_command
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import SimpleDealer
from snorky.services.identity import IdentityService
from snorky.services.pubsub import PubSubService
from tests.identity.tokens import AUDIENCE, SECRET

LIMITS = Limits(
    max_message_bytes=16 * KIB,
    max_unsent_bytes=256 * KIB,
    socket_send_buffer_bytes=32 * KIB,
)
EARLIER = 600.0
"""Connections end so many seconds before the new token does: none is too old when it comes."""


class Desk(RPCService):
    """Greets, answers, and keeps the visitors' book."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.came: list[Client] = []
        self.left: list[Client] = []

    def client_connected(self, client: Client) -> None:
        self.came.append(client)
        self.send_message_to(client, {"type": "welcome", "identity": client.identity})

    def client_disconnected(self, client: Client) -> None:
        self.left.append(client)

    @rpc_command
    def sum(self, req: Request, number1: int, number2: int) -> int:
        return number1 + number2

    @rpc_command
    def fail(self, req: Request, text: str) -> None:
        raise RPCError(text)

    @rpc_command
    def repeat(self, req: Request, value: Any) -> Any:
        return value

    @rpc_command
    def ring(self, req: Request, number: int) -> int:
        """First the bell, then the answer."""
        self.send_message_to(req.client, {"type": "bell", "number": number})
        return number

    @rpc_command
    def askToLeave(self, req: Request, code: int, reason: str) -> None:
        self.send_message_to(req.client, {"type": "lastWord"})
        req.client.close(code, reason)


class Notebook(Service):
    """Writes down whatever it is told, and sends it back."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.notes: list[Any] = []

    def process_message_from(self, client: Client, msg: Any) -> None:
        self.notes.append(msg)
        self.send_message_to(client, msg)


class TasksOf(SimpleDealer):
    model = "Task"

    def get_key_for_model(self, row: Any) -> Any:
        return row["owner"]


def who(handshake: Handshake) -> Any:
    """Whoever says so, by whatever way; nobody is let in by that name."""
    auth = getattr(handshake, "auth", None) or {}
    name = (
        handshake.headers.get("X-User")
        or handshake.cookies.get("user")
        or handshake.arguments.get("user", [None])[0]
        or auth.get("user")
    )
    if name == "nobody":
        raise Refused(401, "Please log in")
    return name


class Office:
    """A registry with all of them."""

    def __init__(self) -> None:
        self.expires_at = time.time() + 3600
        """When the identity of those who come in ends."""
        self.desk = Desk("desk")
        self.notebook = Notebook("notebook")
        self.pubsub = PubSubService("pubsub")
        self.datasync = DataSyncService("datasync", [TasksOf])
        self.backend = DataSyncBackend("datasync_backend", self.datasync)
        self.registry = ServiceRegistry(
            [self.desk, self.notebook, self.pubsub, self.datasync],
            authenticate=self.authenticate,
            limits=LIMITS,
        )
        tokens = JWTAuthenticator(SECRET, algorithms=["HS256"], audience=AUDIENCE, grace=-EARLIER)
        self.registry.register_service(IdentityService("identity", self.registry, tokens))

    def authenticate(self, handshake: Handshake) -> Any:
        name = who(handshake)
        return name if name is None else Authenticated(name, self.expires_at)
