"""Messaging: who registered a name receives what others send to it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

from snorky.services.base import Request, RPCError, RPCService, rpc_command


class MessagingService(RPCService):
    """Participants that send messages to each other by name.

    A client may register several names. They belong to it until it unregisters them or
    disconnects. The names are those of this process: participants of one service have to be
    connected to the same one.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._clients_by_name: dict[str, Any] = {}
        self._names_by_client: dict[Any, set[str]] = {}

    def is_name_allowed(self, client: Any, name: str) -> bool | Awaitable[bool]:
        """Say whether ``client`` may register ``name``, which is free. May be ``async``."""
        return True

    @rpc_command
    def registerParticipant(self, req: Request, name: str) -> Awaitable[None] | None:
        if len(name) > self.limits.max_name_length:
            raise RPCError("Name too long")
        if name in self._clients_by_name:
            raise RPCError("Name already registered")
        allowed = self.is_name_allowed(req.client, name)
        if inspect.isawaitable(allowed):
            return self._register_later(allowed, req.client, name)
        self._register(allowed, req.client, name)
        return None

    @rpc_command
    def unregisterParticipant(self, req: Request, name: str) -> None:
        if name not in self._clients_by_name:
            raise RPCError("Unknown participant")
        names = self._names_by_client.get(req.client, set())
        if name not in names:
            raise RPCError("Invalid participant")
        del self._clients_by_name[name]
        names.remove(name)
        if not names:
            del self._names_by_client[req.client]

    @rpc_command
    def listParticipants(self, req: Request) -> list[str]:
        return sorted(self._clients_by_name)

    @rpc_command
    def send(self, req: Request, sender: str, dest: str, body: Any) -> None:
        if sender not in self._names_by_client.get(req.client, ()):
            raise RPCError("Invalid sender")
        if dest not in self._clients_by_name:
            raise RPCError("Unknown destination")
        message = {"type": "message", "sender": sender, "dest": dest, "body": body}
        self.send_message_to(self._clients_by_name[dest], message)

    def client_disconnected(self, client: Any) -> None:
        for name in self._names_by_client.pop(client, ()):
            del self._clients_by_name[name]

    async def _register_later(self, allowed: Awaitable[bool], client: Any, name: str) -> None:
        self._register(await allowed, client, name)

    def _register(self, allowed: bool, client: Any, name: str) -> None:
        if not allowed:
            raise RPCError("Name not allowed")
        if not getattr(client, "connected", True):
            return  # it left while is_name_allowed was deciding
        if name in self._clients_by_name:  # somebody was quicker
            raise RPCError("Name already registered")
        names = self._names_by_client.get(client, set())
        if len(names) >= self.limits.max_names:
            raise RPCError("Too many names")
        names.add(name)
        self._names_by_client[client] = names
        self._clients_by_name[name] = client
