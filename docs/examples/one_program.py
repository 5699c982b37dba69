"""Front end and back end as a Tornado program of your own, on uvloop."""

import asyncio
import os

import uvloop
from announcements import backend, frontend
from tornado.web import Application

from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler


async def main():
    public = Application([SnorkyWebSocketHandler.get_route(frontend, "/ws")])
    public.listen(5001)
    options = {"service_registry": backend, "api_key": os.environ["SNORKY_API_KEY"]}
    private = Application([("/backend", BackendHTTPHandler, options)])
    private.listen(5002, address="127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        uvloop.run(main())
    except KeyboardInterrupt:
        print("Bye")
