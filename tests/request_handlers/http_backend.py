"""The back end under test, and a program that talks to it."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.services.base import Request, RPCError, RPCService, Service, rpc_command

KEY = "swordfish"


class Echo(Service):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.clients: list[Any] = []

    def process_message_from(self, client: Any, msg: Any) -> None:
        self.clients.append(client)
        self.send_message_to(client, msg)

    def client_connected(self, client: Any) -> None:
        raise AssertionError("a request is no connection")

    client_disconnected = client_connected


class Desk(RPCService):
    @rpc_command
    def add(self, req: Request, a: Any, b: Any) -> Any:
        return a + b

    @rpc_command
    def key(self, req: Request, value: Any) -> Any:
        return {value: "found"}[value]

    @rpc_command
    def refuse(self, req: Request) -> None:
        raise RPCError("Closed")

    @rpc_command
    def crash(self, req: Request) -> None:
        raise ZeroDivisionError("out of order")

    @rpc_command
    def chatter(self, req: Request) -> str:
        self.send_message_to(req.client, "first")
        return "second"


class Silent(Service):
    def process_message_from(self, client: Any, msg: Any) -> None:
        """Never answers."""


class Faulty(Service):
    def process_message_from(self, client: Any, msg: Any) -> None:
        raise ZeroDivisionError("out of order")


class Backend:
    """The back end under test, and a program that talks to it."""

    def __init__(self, listen: Callable[..., int], client: httpx2.AsyncClient) -> None:
        self._listen = listen
        self.client = client
        self.echo = Echo("echo")
        self.registry = ServiceRegistry(
            [self.echo, Desk("desk"), Silent("silent"), Faulty("faulty")],
            limits=Limits(max_backend_message_bytes=1000, backend_timeout=5),
        )
        self.start()

    def start(
        self, handler: Any = BackendHTTPHandler, api_key: Any = KEY, limits: Any = None
    ) -> None:
        if limits is not None:
            self.registry.limits = limits
        options = {"service_registry": self.registry, "api_key": api_key}
        self.port = self._listen(Application([("/backend", handler, options)]))
        self.url = f"http://127.0.0.1:{self.port}/backend"

    async def post(self, body: Any, key: str | bytes | None = KEY, **options: Any) -> Any:
        """POST ``body``: bytes and asynchronous iterables as they are, all else as JSON."""
        if not isinstance(body, bytes | AsyncIterator):
            body = json.dumps(body).encode()
        headers: Any = {} if key is None else {"X-Backend-Key": key}
        return await self.client.post(self.url, content=body, headers=headers, **options)

    async def call(self, command: str, **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 0}
        response = await self.post({"service": "desk", "message": message})
        assert response.status_code == 200
        answer = response.json()
        assert answer.pop("service") == "desk"
        return answer.pop("message")


def refused(response: Any, status: int, phrase: str, text: str, expect_log: Any) -> None:
    """The refusal is JSON with a text, its status line is the standard one, and it is logged."""
    assert (response.status_code, response.reason_phrase) == (status, phrase)
    assert response.json() == {"error": text}
    assert response.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert expect_log.all(f"{status} POST /backend") >= 1
