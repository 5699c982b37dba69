"""Where the client's tests need a token: at ``/members`` tokens can be renewed over the open
connection, at ``/visitors`` nobody takes new ones. Both accept tokens in the query, too.
"""

from __future__ import annotations

from typing import Any

from snorky import ServiceRegistry
from snorky.identity.jwt import JWTAuthenticator
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Request, RPCService, rpc_command
from snorky.services.identity import IdentityService

TOKENS = JWTAuthenticator(
    "a secret of the client's tests, long enough",
    algorithms=["HS256"],
    audience="tests",
    grace=4,
    sources=("header", "subprotocol", "query"),
)


class CountingRegistry(ServiceRegistry):
    """Counts what is said to services that it does not have."""

    strays = 0

    def process_message_from(self, client: Any, msg: Any) -> None:
        if msg["service"] not in self.registered_services:
            self.strays += 1
        super().process_message_from(client, msg)


class Door(RPCService):
    def __init__(self, name: str, registry: CountingRegistry) -> None:
        super().__init__(name)
        self.registry = registry
        self.connections: dict[Any, int] = {}

    def client_connected(self, client: Any) -> None:
        self.connections[client.identity] = self.connections.get(client.identity, 0) + 1

    @rpc_command
    def look(self, req: Request) -> dict[str, Any]:
        """Who the client is, how often they came, and what was said to nobody."""
        identity = req.client.identity
        return {
            "identity": identity,
            "connections": self.connections[identity],
            "strays": self.registry.strays,
        }

    @rpc_command
    def leave(self, req: Request, code: int, reason: str) -> None:
        """Close the connection."""
        req.client.close(code, reason)


def routes() -> list[Any]:
    members = CountingRegistry(authenticate=TOKENS)
    members.register_service(IdentityService("identity", members, TOKENS))
    visitors = CountingRegistry(authenticate=TOKENS)
    found: list[Any] = []
    for path, registry in (("/members", members), ("/visitors", visitors)):
        registry.register_service(Door("door", registry))
        found.append(SnorkyWebSocketHandler.get_route(registry, f"{path}/ws"))
        found += SnorkyCometHandler.get_routes(registry, f"{path}/comet", disconnect_delay=2)
    return found
