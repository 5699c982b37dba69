"""A public front end, and a private back end for the web application."""

import sys

from tornado.ioloop import IOLoop
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.pubsub import PubSubBackend, PubSubService


class ReadOnlyPubSub(PubSubService):
    def can_publish(self, client, channel):
        return False


if __name__ == "__main__":
    pubsub = ReadOnlyPubSub("pubsub")
    pubsub_backend = PubSubBackend("pubsub_backend", pubsub)

    frontend = ServiceRegistry()
    frontend.register_service(pubsub)
    backend = ServiceRegistry()
    backend.register_service(pubsub_backend)

    app_frontend = Application(
        [
            SnorkyWebSocketHandler.get_route(frontend, "/ws"),
        ]
    )
    app_backend = Application(
        [
            (
                r"/backend",
                BackendHTTPHandler,
                {
                    "service_registry": backend,
                    "api_key": "swordfish",
                },
            ),
        ]
    )
    app_frontend.listen(int(sys.argv[1]))
    app_backend.listen(int(sys.argv[2]), address="127.0.0.1")

    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        IOLoop.instance().stop()
