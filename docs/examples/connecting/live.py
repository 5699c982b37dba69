"""A shop, and channels, for the pages of this chapter."""

import asyncio

from snorky import ServiceRegistry
from snorky.services.base import RPCError, RPCService, rpc_command
from snorky.services.pubsub import PubSubService


class Shop(RPCService):
    @rpc_command
    async def reserve(self, req, item):
        if item == "cake":
            raise RPCError("Sold out")
        if item == "piano":
            await asyncio.sleep(30)  # the warehouse is far away
        return {"reserved": item}


frontend = ServiceRegistry([Shop("shop"), PubSubService("pubsub")])
