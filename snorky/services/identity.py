"""Tokens over the open connection, and identities that a back end disconnects.

Which tokens are good is the authenticator's business, who is connected the registry's.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Iterable
from typing import Any, Protocol

from snorky import close_codes
from snorky.brokers import Broker
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.hashable import hashable
from snorky.identity import Authenticated, Handshake, Refused
from snorky.limits import Limits
from snorky.processes import Processes
from snorky.service_registry import ServiceRegistry
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.sharing import SharedService
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


class IdentityBackend(SharedService):
    """Lets trusted servers reach the clients of an identity in ``registry``.

    ``broker``: in all processes that share it, which have such a service of the same name each.
    """

    def __init__(self, name: str, registry: ServiceRegistry, broker: Broker | None = None) -> None:
        super().__init__(name, broker)
        self._registry = registry

    def _use(self, broker: Broker, processes: Processes) -> None:
        super()._use(broker, processes)
        for command in (
            self._disconnect,
            self._clients,
            self._send,
            self._subscribe,
            self._unsubscribe,
        ):
            processes.answers[command.__name__] = command

    @rpc_command
    def disconnect(self, req: Request, identity: Any) -> Any:
        """Reply how many clients there were. An array is no identity."""
        return self._in_all("_disconnect", identity=identity)

    @rpc_command
    def clients(self, req: Request, identity: Any) -> Any:
        """Reply which clients there are: ``[{"address"}, ...]``."""
        return self._in_all("_clients", [], identity=identity)

    @rpc_command
    def send(self, req: Request, identity: Any, serviceName: str, message: Any) -> Any:
        """Send a message of a service to all clients. Replies how many there were."""
        return self._in_all("_send", identity=identity, service=serviceName, message=message)

    @rpc_command
    def subscribe(self, req: Request, identity: Any, serviceName: str, channel: Any) -> Any:
        """Subscribe all clients to a channel of a service, which need not be asked.

        Replies how many are subscribed now. It is for the connections there are.
        """
        return self._in_all("_subscribe", identity=identity, service=serviceName, channel=channel)

    @rpc_command
    def unsubscribe(self, req: Request, identity: Any, serviceName: str, channel: Any) -> Any:
        """Take all clients out of a channel. Replies how many there were."""
        return self._in_all("_unsubscribe", identity=identity, service=serviceName, channel=channel)

    def _in_all(self, what: str, start: Any = 0, **params: Any) -> Any:
        """The sum of what all processes answer, or an awaitable of it."""
        answers = self.processes.ask_all(what, params)
        return _sum_later(answers, start) if inspect.isawaitable(answers) else sum(answers, start)

    def _clients_of(self, params: Any) -> list[Any]:
        return list(self._registry.clients_of(hashable(params["identity"])))

    def _disconnect(self, params: Any) -> int:
        return self._registry.disconnect(hashable(params["identity"]))

    def _clients(self, params: Any) -> list[dict[str, Any]]:
        return [{"address": client.remote_address} for client in self._clients_of(params)]

    def _send(self, params: Any) -> int:
        envelope = Envelope(params["service"], params["message"])
        clients = self._clients_of(params)
        for client in clients:
            client.send(envelope)
        return len(clients)

    def _subscribe(self, params: Any) -> Any:
        return self._do_with_each("add_client", params)

    def _unsubscribe(self, params: Any) -> Any:
        return self._do_with_each("remove_client", params)

    def _do_with_each(self, method: str, params: Any) -> Any:
        service = self._registry.registered_services.get(params["service"])
        do = getattr(service, method, None)
        if do is None:
            raise RPCError("Expected a service with channels")
        channel = hashable(params["channel"])
        return _count_done([do(client, channel) for client in self._clients_of(params)])


def _count_done(results: list[Any]) -> Any:
    """How many went well, or an awaitable of it. Raises RPCError where none did."""
    return _wait_for(results) if any(map(inspect.isawaitable, results)) else len(results)


async def _wait_for(results: list[Any]) -> int:
    waits = [each for each in results if inspect.isawaitable(each)]
    faults = [
        each
        for each in await asyncio.gather(*waits, return_exceptions=True)
        if isinstance(each, BaseException)
    ]
    for fault in faults:
        if len(faults) == len(results) or not isinstance(fault, RPCError):
            raise fault
    return len(results) - len(faults)


async def _sum_later(answers: Awaitable[list[Any]], start: Any) -> Any:
    return sum(await answers, start)


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
