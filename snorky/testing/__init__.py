"""For tests of services: a client that keeps what it is sent, and calls without a server."""

from __future__ import annotations

import asyncio
import json
from inspect import iscoroutinefunction
from typing import Any

from snorky.client import Client, Peer
from snorky.hashable import hashable
from snorky.services.base import Request, RPCError, RPCService
from snorky.wire import encode


class FakeClient(Client):
    """A client without a connection. ``received`` holds the envelopes it was sent, decoded.

    Once it is closed it receives nothing more. Services are not told of that: a test calls their
    ``client_disconnected``.
    """

    def __init__(self, identity: Any = None, remote_address: str = "fake") -> None:
        self.identity = identity
        self.remote_address = remote_address
        self.received: list[Any] = []
        self.closed: tuple[int, str] | None = None

    def send(self, msg: Any) -> None:
        text = encode(msg)
        if self.connected:
            self.received.append(json.loads(text))

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self.connected = False

    @property
    def messages(self) -> list[Any]:
        """What was received, without the envelopes and without answers to calls."""
        messages = [envelope["message"] for envelope in self.received]
        return [
            message
            for message in messages
            if not isinstance(message, dict) or message.get("type") not in ("response", "error")
        ]


class _TestRequest(Request):
    debug = True

    def __init__(self, service: Any, client: Peer, msg: Any) -> None:
        super().__init__(service, client, msg)
        self.answer: dict[str, Any] | None = None
        self.answered = asyncio.Event()

    def _send(self, message: dict[str, Any]) -> None:
        self.answer = json.loads(encode(message))
        self.answered.set()

    def value(self) -> Any:
        assert self.answer is not None
        if self.answer["type"] == "error":
            raise RPCError(self.answer["message"]) from self.fault
        return self.answer["data"]


def call(service: RPCService, client: Peer, command: str, /, **params: Any) -> Any:
    """Call a command as ``client`` and return its reply, as decoded JSON.

    Raises RPCError with the text of an error, whose cause says why params are invalid; unexpected
    exceptions of the command propagate. The answer is not in ``client.received``. For commands that
    answer at once; see ``async_call``.
    """
    if command in service.rpc_commands and iscoroutinefunction(getattr(service, command, None)):
        raise AssertionError(f"{command} is async, so it answers later: use async_call")
    request = _request(service, client, command, params)
    if request.answer is None:
        raise AssertionError(f"{command} did not answer at once: use async_call")
    return request.value()


async def async_call(service: RPCService, client: Peer, command: str, /, **params: Any) -> Any:
    """The same for commands that answer later. Raises TimeoutError after ten seconds."""
    others = set(service.tasks)
    request = _request(service, client, command, params)
    async with asyncio.timeout(10):
        for task in service.tasks - others:
            await task  # an unexpected exception of the command comes out here
        await request.answered.wait()
    return request.value()


def _request(service: RPCService, client: Peer, command: str, params: Any) -> _TestRequest:
    message = json.loads(encode({"command": command, "params": params, "callId": 1}))
    request = _TestRequest(service, client, hashable(message))
    service.process_request(request)
    return request
