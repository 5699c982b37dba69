"""An auction: who bids more is the best bidder, and everybody in the room is told."""

import asyncio

from snorky import ServiceRegistry
from snorky.services.base import RPCError, RPCService, rpc_command


class Auction(RPCService):
    def __init__(self, name):
        super().__init__(name)
        self.room = set()
        self.best = 0

    @rpc_command
    def enter(self, req):
        self.room.add(req.client)
        return self.best

    @rpc_command
    async def bid(self, req, amount: int):
        await asyncio.sleep(0)  # in your program: ask whether they can pay
        if amount <= self.best:
            raise RPCError(f"More than {self.best}, please")
        self.best = amount
        self.broadcast(self.room, {"type": "bid", "amount": amount, "by": req.client.identity})

    def client_disconnected(self, client):
        self.room.discard(client)


frontend = ServiceRegistry([Auction("auction")], authenticate=lambda handshake: "a guest")
