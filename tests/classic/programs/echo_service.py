"""Sends every message back."""

import sys

from tornado.ioloop import IOLoop
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Service


class EchoService(Service):
    def process_message_from(self, client, msg):
        self.send_message_to(client, msg)


if __name__ == "__main__":
    service_registry = ServiceRegistry()
    service_registry.register_service(EchoService("echo"))

    application = Application(
        [
            SnorkyWebSocketHandler.get_route(service_registry, "/websocket"),
        ]
    )
    application.listen(int(sys.argv[1]))

    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        IOLoop.instance().stop()
