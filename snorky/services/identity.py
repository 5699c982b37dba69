"""Tokens over the open connection, and identities that a back end disconnects.

Which tokens are good is the authenticator's business, who is connected the registry's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

from snorky import close_codes
from snorky.client import Peer
from snorky.identity import Authenticated, Handshake, Refused
from snorky.limits import Limits
from snorky.service_registry import ServiceRegistry
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.wire import MalformedMessage, decode


class TokenAuthenticator(Protocol):
    """What tells good tokens from bad ones. ``JWTAuthenticator`` is one."""

    def token_in(self, handshake: Handshake) -> str | None: ...
    def verify(self, token: str) -> Authenticated: ...


class IdentityService(RPCService):
    """Lets clients of ``registry`` bring new tokens, so that they may stay."""

    def __init__(
        self, name: str, registry: ServiceRegistry, authenticator: TokenAuthenticator
    ) -> None:
        super().__init__(name)
        self._registry = registry
        self._authenticator = authenticator

    def hide_secrets(self, value: Any) -> Any:
        return "(hidden)"  # a token may be anywhere in what is malformed

    @rpc_command
    def refresh(self, req: Request, token: str) -> dict[str, float]:
        """Replies with the seconds after which the connection will be closed."""
        try:
            authenticated = self._authenticator.verify(token)
        except Refused as refused:
            raise RPCError(refused.reason) from refused
        try:
            self._registry.renew(req.client, authenticated)
        except ValueError as error:
            raise RPCError("Not your token") from error
        return {"expiresIn": round(authenticated.expires_at - time.time(), 3)}


class IdentityBackend(RPCService):
    """Lets trusted servers disconnect somebody from ``registry``, in this process."""

    def __init__(self, name: str, registry: ServiceRegistry) -> None:
        super().__init__(name)
        self._registry = registry

    @rpc_command
    def disconnect(self, req: Request, identity: Any) -> int:
        """Replies how many clients there were. An array is no identity."""
        return self._registry.disconnect(identity)


class FirstMessageRegistry(ServiceRegistry):
    """A registry whose clients may also bring their token in their first message.

    That is a call of ``refresh`` of its IdentityService, called ``token_service`` and registered
    by itself. Until then no service hears of the client. Whoever says anything else, has a bad
    token, or none within ``limits.handshake_timeout``, is disconnected.
    """

    def __init__(
        self,
        services: Iterable[Any] | None = None,
        *,
        authenticator: TokenAuthenticator,
        token_service: str = "identity",  # noqa: S107  # a name
        limits: Limits | None = None,
    ) -> None:
        super().__init__(services, limits=limits)
        self._authenticator = authenticator
        self._token_service = IdentityService(token_service, self, authenticator)
        self._waiting: set[Any] = set()
        self.register_service(self._token_service)

    async def authenticate(self, handshake: Handshake) -> Authenticated | None:
        token = self._authenticator.token_in(handshake)
        return None if token is None else self._authenticator.verify(token)

    def client_connected(self, client: Peer) -> None:
        if client.identity is not None:
            super().client_connected(client)
            return
        self.clients.add(client)
        self._waiting.add(client)
        self._attendance.stay_for(client, self.limits.handshake_timeout)

    def client_disconnected(self, client: Peer) -> None:
        if client in self._waiting:
            self._waiting.discard(client)
            self.clients.discard(client)
            self._attendance.leave(client)
        else:
            super().client_disconnected(client)

    def renew(self, client: Peer, authenticated: Authenticated) -> None:
        if client in self._waiting:
            self._waiting.discard(client)
            client.identity = authenticated
            self.client_connected(client)
        else:
            super().renew(client, authenticated)

    def client_expired(self, client: Peer) -> None:
        if client in self._waiting:
            client.close(*close_codes.NOT_AUTHENTICATED)
        else:
            super().client_expired(client)

    def process_message_raw(self, client: Peer, text: str | bytes) -> None:
        if client not in self._waiting:
            super().process_message_raw(client, text)
            return
        try:
            self.process_message_from(client, decode(text))
        except MalformedMessage:  # not logged: there may be a token in it
            client.close(*close_codes.NOT_AUTHENTICATED)

    def process_message_from(self, client: Peer, msg: Any) -> None:
        if client not in self._waiting:
            super().process_message_from(client, msg)
            return
        if isinstance(msg, dict) and msg.get("service") == self._token_service.name:
            super().process_message_from(client, msg)
        if client in self._waiting:
            client.close(*close_codes.NOT_AUTHENTICATED)
