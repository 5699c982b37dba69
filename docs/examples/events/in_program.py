"""A job inside Snorky's own program, and a function that listens: snorky serve in_program.py"""

import asyncio

from snorky import ServiceRegistry
from snorky.services.base import RPCService, rpc_command
from snorky.services.events import EventsService


class Reports(RPCService):
    @rpc_command
    async def make(self, req, number: int):
        for percent in range(0, 101, 25):
            events.update("reports", f"/reports/{number}", percent)
            await asyncio.sleep(0.1)  # some work


def log(sender, path, message):
    print(path, message, flush=True)


events = EventsService("events")
events.connect(log, "/reports/*")
frontend = ServiceRegistry([events, Reports("reports")])
