"""One set of services, by WebSocket and by SockJS."""

import asyncio
from pathlib import Path

from tornado.web import Application, StaticFileHandler

import snorky
from snorky import ServiceRegistry
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.pubsub import PubSubService

frontend = ServiceRegistry([PubSubService("pubsub")])
client_files = Path(snorky.__file__).parent / "static"


async def main():
    application = Application(
        [
            SnorkyWebSocketHandler.get_route(frontend, "/ws"),
            *SnorkySockJSHandler.get_routes(frontend, "/sockjs"),
            ("/static/(.*)", StaticFileHandler, {"path": client_files}),
            (r"/(page\.html)", StaticFileHandler, {"path": Path(__file__).parent}),
        ]
    )
    application.listen(5001)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("Bye")
