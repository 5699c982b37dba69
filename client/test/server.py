"""The Snorky server that the client's tests run against.

Prints ``listening <port>`` when it is ready. ``control`` lets a test do to the server what
otherwise only time and misfortune do.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

import members
import web_application
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Request, RPCError, RPCService, rpc_asynchronous, rpc_command
from snorky.services.chat import ChatService
from snorky.services.cursors import CursorsService
from snorky.services.datasync import (
    BroadcastDealer,
    DataSyncBackend,
    DataSyncService,
    FilterDealer,
)
from snorky.services.messaging import MessagingService
from snorky.services.pubsub import ChannelOptions, History, PubSubService, marks

marks.LOOK_SECONDS = 0.02


class Calculator(RPCService):
    @rpc_command
    def sum(self, req: Request, number1: float, number2: float) -> float:
        return number1 + number2

    @rpc_command
    def fail(self, req: Request, text: str) -> None:
        raise RPCError(text)

    @rpc_command
    @rpc_asynchronous
    def ponder(self, req: Request) -> None:
        """Never answer."""


class Notebook(RPCService):
    """Remembers what it is told, and by whom it was told first."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.notes: list[Any] = []

    @rpc_command
    def note(self, req: Request, text: Any) -> None:
        self.notes.append(text)
        self.send_message_to(req.client, {"type": "noted", "text": text})

    @rpc_command
    def read(self, req: Request) -> list[Any]:
        return self.notes


class MoodyPubSub(PubSubService):
    def __init__(self, name: str) -> None:
        kept = ChannelOptions(history=History(entries=5), presence="members")
        super().__init__(name, channels={"kept/*": kept}, history_bytes=20_000)
        self.refused: set[Any] = set()
        self.stalled: set[Any] = set()

    def can_subscribe(self, client: Any, channel: Any) -> bool | Awaitable[bool]:
        if channel in self.stalled:
            return asyncio.get_running_loop().create_future()
        return channel not in self.refused


class TaskDealer(BroadcastDealer):
    name = "tasks"
    model = "Task"


class RowDealer(FilterDealer):
    name = "rows"
    model = "Row"


class Control(RPCService):
    def __init__(self, name: str, registry: ServiceRegistry, pubsub: MoodyPubSub) -> None:
        super().__init__(name)
        self.registry = registry
        self.pubsub = pubsub
        self.connections = 0

    def client_connected(self, client: Any) -> None:
        self.connections += 1

    @rpc_command
    def countConnections(self, req: Request) -> int:
        """How many there have been since the start, this one included."""
        return self.connections

    @rpc_command
    def closeOthers(self, req: Request, code: int, reason: str = "") -> None:
        for client in tuple(self.registry.clients):
            if client is not req.client:
                client.close(code, reason)

    @rpc_command
    def refuse(self, req: Request, channel: Any) -> None:
        self.pubsub.refused.add(channel)

    @rpc_command
    def stall(self, req: Request, channel: Any, stalled: bool) -> None:
        """Let whoever subscribes wait for ever, or no longer."""
        if stalled:
            self.pubsub.stalled.add(channel)
        else:
            self.pubsub.stalled.discard(channel)


def make_registry() -> ServiceRegistry:
    pubsub = MoodyPubSub("pubsub")
    datasync = DataSyncService("datasync", [TaskDealer, RowDealer])
    relayed = DataSyncService("relayed", [RowDealer], relay=True, lease=1)
    registry = ServiceRegistry(
        [
            Calculator("calculator"),
            Notebook("notebook"),
            pubsub,
            datasync,
            DataSyncBackend("datasync_backend", datasync),
            relayed,
            DataSyncBackend("relayed_backend", relayed),
            MessagingService("messaging"),
            ChatService("chat"),
            CursorsService("cursors"),
        ],
        authenticate=lambda handshake: handshake.arguments.get("name", [None])[0],
    )
    registry.register_service(Control("control", registry, pubsub))
    return registry


async def main(port: int) -> None:
    registry = make_registry()
    application = Application(
        [
            SnorkyWebSocketHandler.get_route(registry, "/ws"),
            *SnorkyCometHandler.get_routes(
                registry, "/comet", disconnect_delay=2, heartbeat_interval=0.5
            ),
            *members.routes(),
            *web_application.routes(registry),
        ]
    )
    server = application.listen(port, address="127.0.0.1")
    (listener,) = server._sockets.values()
    sys.stdout.write(f"listening {listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
