"""A service for pages, and one that rings at their doors: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.base import RPCError, RPCService, rpc_command


class Doorbell(RPCService):
    """Pages that listen hear of visitors."""

    def __init__(self, name):
        super().__init__(name)
        self.at_home = set()

    @rpc_command
    def listen(self, req):
        self.at_home.add(req.client)

    def client_disconnected(self, client):
        self.at_home.discard(client)

    def ring(self, visitor):
        self.broadcast(self.at_home, {"type": "visitor", "name": visitor})
        return len(self.at_home)


class DoorbellBackend(RPCService):
    """Whoever has the key may ring."""

    def __init__(self, name, doorbell):
        super().__init__(name)
        self.doorbell = doorbell

    @rpc_command
    def ring(self, req, visitor: str):
        if not self.doorbell.at_home:
            raise RPCError("Nobody is at home")
        return self.doorbell.ring(visitor)


doorbell = Doorbell("doorbell")
frontend = ServiceRegistry([doorbell])
backend = ServiceRegistry([DoorbellBackend("doorbell_backend", doorbell)])
