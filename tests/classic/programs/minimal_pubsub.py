"""Everybody receives what anybody says."""

import sys

from tornado.ioloop import IOLoop
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import RPCError, RPCService, rpc_command


class MinimalPubSub(RPCService):
    def __init__(self, name):
        RPCService.__init__(self, name)
        self.subscribers = set()

    @rpc_command
    def subscribe(self, req):
        if req.client in self.subscribers:
            raise RPCError("Already subscribed")
        self.subscribers.add(req.client)

    @rpc_command
    def publish(self, req, message):
        for client in self.subscribers:
            self.send_message_to(client, {"type": "message", "message": message})
        return len(self.subscribers)

    def client_disconnected(self, client):
        self.subscribers.discard(client)


if __name__ == "__main__":
    registry = ServiceRegistry([MinimalPubSub("minimal")])
    app = Application([SnorkyWebSocketHandler.get_route(registry, "/ws", ping_pong_interval=10)])
    app.listen(int(sys.argv[1]), address="")

    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        IOLoop.instance().stop()
