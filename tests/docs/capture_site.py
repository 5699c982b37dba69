"""The servers that the captures talk to, and what is said to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry, close_codes
from snorky.cli.program import Served
from snorky.cli.server import close_clients, front_door
from snorky.identity import Handshake, Refused
from snorky.services.datasync import BroadcastDealer, DataSyncBackend, DataSyncService
from snorky.services.pubsub import PubSubBackend, PubSubService
from snorky.wheel import wheel_of
from tests.patience import patient

TEXT = "Content-Type: text/plain"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",  # the one of RFC 6455, 1.3
)


def authenticate(handshake: Handshake) -> str | None:
    if "token" in handshake.arguments:
        raise Refused(401, "Token expired")
    return next(iter(handshake.arguments.get("who", ())), None)


class AllTasks(BroadcastDealer):
    name = "AllTasks"
    model = "Task"


class Site:
    """The registries that the captures talk to."""

    def __init__(self) -> None:
        pubsub, datasync = PubSubService("pubsub"), DataSyncService("datasync", [AllTasks])
        self.frontend = ServiceRegistry([pubsub, datasync], authenticate=authenticate)
        self.backend = ServiceRegistry(
            [
                PubSubBackend("pubsub_backend", pubsub),
                DataSyncBackend("datasync_backend", datasync),
            ]
        )
        self.served = Served(self.frontend, self.backend, ("swordfish",), None)

    @asynccontextmanager
    async def front_door(self) -> AsyncIterator[int]:
        door = front_door(self.served)
        listening = bind_sockets(0, "127.0.0.1")
        door.add_sockets(listening)
        try:
            yield int(listening[0].getsockname()[1])
        finally:
            door.stop()
            await close_clients(self.frontend)
            await door.close_all_connections()

    @asynccontextmanager
    async def tornado(self, application: Application | Sequence[Any]) -> AsyncIterator[int]:
        if not isinstance(application, Application):
            application = Application(list(application))
        server = HTTPServer(application)
        listening = bind_sockets(0, "127.0.0.1")
        server.add_sockets(listening)
        try:
            yield int(listening[0].getsockname()[1])
        finally:
            server.stop()
            await close_clients(self.frontend)
            await server.close_all_connections()

    async def receiver_waits(self) -> None:
        """Wait until the request of the one client waits for something to take."""
        (client,) = self.frontend.clients
        await until(lambda: client.session.receiver is not None)

    def stop(self) -> None:
        """What ``snorky serve`` tells its clients when it is told to stop."""
        for client in tuple(self.frontend.clients):
            client.close(*close_codes.GOING_AWAY)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(patient(20)):
        while not condition():
            await asyncio.sleep(0.001)


def an_interval_passes(seconds: float) -> None:
    """The timer of pings and heartbeats comes round once."""
    wheel = wheel_of(asyncio.get_running_loop(), seconds)
    waiting = [connection for slot in wheel._slots for connection in slot]
    for connection in sorted(waiting, key=lambda connection: type(connection).__name__):
        connection.ping_or_close()


def call(command: str, call_id: int = 0, **params: Any) -> str:
    message = {"command": command, "params": params, "callId": call_id}
    return as_json({"service": "pubsub", "message": message})


def as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


SUBSCRIBE = call("subscribe", 0, channel="news")
PUBLISH = call("publish", 1, channel="news", message="Tea is ready")
UNKNOWN = call("dance", 2)
