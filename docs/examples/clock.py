"""A service that works while the server runs."""

import asyncio
from datetime import UTC, datetime

from snorky import ServiceRegistry
from snorky.services.base import Service


class ClockService(Service):
    def __init__(self, name):
        super().__init__(name)
        self.clients = set()

    async def start(self):
        self.ticking = asyncio.create_task(self.tick())

    async def stop(self):
        self.ticking.cancel()

    def client_connected(self, client):
        self.clients.add(client)

    def client_disconnected(self, client):
        self.clients.discard(client)

    async def tick(self):
        while True:
            self.broadcast(self.clients, {"time": datetime.now(UTC).isoformat()})
            await asyncio.sleep(1)


frontend = ServiceRegistry([ClockService("clock")])
