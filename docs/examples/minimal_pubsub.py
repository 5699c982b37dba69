"""Publish/subscribe in a few lines: what the bundled service does, without its conveniences."""

from snorky import ServiceRegistry
from snorky.services.base import RPCService, rpc_command


class MinimalPubSub(RPCService):
    def __init__(self, name):
        super().__init__(name)
        self.subscribers = set()

    @rpc_command
    def subscribe(self, req):
        self.subscribers.add(req.client)

    @rpc_command
    def publish(self, req, message):
        self.broadcast(self.subscribers, {"type": "message", "message": message})

    def client_disconnected(self, client):
        self.subscribers.discard(client)


frontend = ServiceRegistry([MinimalPubSub("pubsub")])
