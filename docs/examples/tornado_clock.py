"""The clock in a Tornado program that starts and stops its services itself."""

import asyncio

from clock import frontend
from tornado.web import Application

from snorky.request_handlers.websocket import SnorkyWebSocketHandler


async def main(port=5001):
    await frontend.start()
    application = Application([SnorkyWebSocketHandler.get_route(frontend, "/ws")])
    server = application.listen(port, "127.0.0.1")
    try:
        await asyncio.Event().wait()
    finally:
        server.stop()
        await frontend.stop()


if __name__ == "__main__":
    asyncio.run(main())
