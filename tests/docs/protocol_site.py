"""A server with the services of the protocol's page, and a web application with a list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
from tornado.web import Application

from docs.examples.protocol.client import CallError, Connection, Disconnected
from snorky import ServiceRegistry
from snorky.identity import Handshake, Refused
from snorky.identity.jwt import JWTAuthenticator
from snorky.limits import Limits
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.datasync import BroadcastDealer, DataSyncBackend, DataSyncService
from snorky.services.identity import IdentityBackend, IdentityService
from snorky.services.pubsub import ChannelOptions, History, PubSubBackend, PubSubService
from tests.identity.tokens import AUDIENCE, SECRET
from tests.patience import patient

KEY = "swordfish"


class Works(RPCService):
    """Commands of every kind."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.go_on = asyncio.Event()

    @rpc_command
    def echo(self, req: Request, value: Any) -> Any:
        return value

    @rpc_command
    def no_number(self, req: Request) -> list[float]:
        return [float("nan"), float("-inf")]

    @rpc_command
    def refuse(self, req: Request) -> None:
        raise RPCError("Not today")

    @rpc_command
    def fail(self, req: Request) -> None:
        raise ZeroDivisionError

    @rpc_command
    async def wait(self, req: Request, seconds: float = patient(60)) -> str:
        async with asyncio.timeout(seconds):
            await self.go_on.wait()
        return "waited"


class Channels(PubSubService):
    """Everybody may do everything, but with "secret"; "tiny" keeps next to nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name, channels={"tiny": ChannelOptions(history=History(bytes=50))})

    def can_subscribe(self, client: Any, channel: Any) -> bool:
        return bool(channel != "secret")

    can_publish = can_subscribe


class AllTasks(BroadcastDealer):
    name = "AllTasks"
    model = "Task"


tokens = JWTAuthenticator(SECRET, algorithms=["HS256"], audience=AUDIENCE, grace=0)


def authenticate(handshake: Handshake) -> Any:
    """Everybody may come; who brings a token is somebody."""
    if handshake.arguments.get("who") == ["banned"]:
        raise Refused(403, "Not you")
    return None if tokens.token_in(handshake) is None else tokens(handshake)


class Live:
    """The server, on ports of its own."""

    def __init__(
        self,
        listen: Callable[..., int],
        open_front_door: Callable[..., Any],
        *,
        limits: Limits | None = None,
        frontend: ServiceRegistry | None = None,
        authenticate: Any = authenticate,
    ) -> None:
        self.works = Works("works")
        self.pubsub, self.datasync = Channels("pubsub"), DataSyncService("datasync", [AllTasks])
        self.frontend = frontend or ServiceRegistry(authenticate=authenticate, limits=limits)
        for service in (self.works, self.pubsub, self.datasync):
            self.frontend.register_service(service)
        if frontend is None:
            self.frontend.register_service(IdentityService("identity", self.frontend, tokens))
        self.backend = ServiceRegistry(
            [
                PubSubBackend("pubsub_backend", self.pubsub),
                DataSyncBackend("datasync_backend", self.datasync),
                IdentityBackend("identity_backend", self.frontend),
            ],
            limits=limits,
        )
        route = SnorkyWebSocketHandler.get_route(self.frontend, "/ws")
        _, self.port = open_front_door(
            Application([route]), [route], limits=limits or Limits(), log_request=lambda *_: None
        )
        options = {"service_registry": self.backend, "api_key": KEY}
        backend_port = listen(Application([("/backend", BackendHTTPHandler, options)]))
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.backend_url = f"http://127.0.0.1:{backend_port}/backend"

    async def back_end(self, service: str, command: str, **params: Any) -> Any:
        return await call_back_end(self.backend_url, service, command, **params)

    async def until_nobody_is_here(self) -> None:
        async with asyncio.timeout(patient(20)):
            while self.frontend.clients:
                await asyncio.sleep(0.01)


async def call_back_end(url: str, service: str, command: str, /, **params: Any) -> Any:
    """The answer of the back end; raises CallError as the client does."""
    body = {"service": service, "message": {"command": command, "params": params}}
    async with httpx2.AsyncClient(timeout=patient(20)) as http:
        answer = await http.post(url, json=body, headers={"X-Backend-Key": KEY})
    assert answer.status_code == 200, answer.text
    message = answer.json()["message"]
    if message["type"] == "error":
        raise CallError(message["message"])
    return message["data"]


class TaskList:
    """A web application: it owns the rows, authorises, and publishes what it has changed."""

    def __init__(self, backend_url: str) -> None:
        self.backend_url = backend_url
        self.rows: dict[int, dict[str, Any]] = {}

    async def get(self) -> tuple[dict[int, dict[str, Any]], str]:
        """What a page asks for: the token first, then the rows."""
        items = [{"dealer": "AllTasks", "query": None}]
        token = await call_back_end(
            self.backend_url, "datasync_backend", "authorizeSubscription", items=items
        )
        return dict(self.rows), token

    async def save(self, row: dict[str, Any]) -> None:
        old = self.rows.get(row["id"])
        self.rows[row["id"]] = row
        if old is None:
            await self._publish({"type": "insert", "data": row})
        else:
            await self._publish({"type": "update", "newData": row, "oldData": old})

    async def delete(self, key: int) -> None:
        await self._publish({"type": "delete", "data": self.rows.pop(key)})

    async def _publish(self, change: dict[str, Any]) -> None:
        deltas = [{"model": "Task", **change}]
        try:
            await call_back_end(
                self.backend_url, "datasync_backend", "publishDeltas", deltas=deltas
            )
        except httpx2.TransportError:
            pass  # Snorky is away: pages ask for everything when they come back


class TaskView:
    """A page that follows the rules for clients of DataSync."""

    def __init__(self, application: TaskList) -> None:
        self._application = application
        self.rows: dict[int, dict[str, Any]] = {}
        self.loads = 0
        self.changed = asyncio.Event()

    async def follow(self, connection: Connection) -> None:
        try:
            rows, token = await self._application.get()
        except httpx2.TransportError as error:
            raise Disconnected(1006, "Snorky is away", may_come_back=True) from error
        self.rows = rows
        self.loads += 1
        await connection.call("datasync", "acquireSubscription", token=token)
        self.changed.set()
        async for _, message in connection:
            self.apply(message["delta"])

    def apply(self, delta: dict[str, Any]) -> None:
        if delta["type"] == "delete":
            self.rows.pop(delta["data"]["id"], None)
        elif delta["type"] == "insert":
            self.rows[delta["data"]["id"]] = delta["data"]
        else:
            self.rows.pop(delta["oldData"]["id"], None)
            self.rows[delta["newData"]["id"]] = delta["newData"]
        self.changed.set()

    async def loaded(self, times: int) -> None:
        await self.until(lambda: self.loads >= times)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(patient(30)):
            while not condition():
                self.changed.clear()
                await self.changed.wait()
