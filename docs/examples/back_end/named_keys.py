"""A Tornado program in which every trusted server has a key of its own."""

import asyncio
import hmac
import logging
import os

from live import backend, frontend
from tornado.web import Application, HTTPError

from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler

KEYS = {"shop": os.environ["SHOP_KEY"], "worker": os.environ["WORKER_KEY"]}


class NamedKeys(BackendHTTPHandler):
    def check_api_key(self, api_key):
        for name, key in KEYS.items():
            if hmac.compare_digest(api_key.encode(), key.encode()):
                logging.info("%s calls", name)
                return
        raise HTTPError(401, "Invalid API key")


async def main():
    public = Application([SnorkyWebSocketHandler.get_route(frontend, "/ws")])
    public.listen(5001)
    options = {"service_registry": backend, "api_key": []}
    private = Application([("/backend", NamedKeys, options)])
    private.listen(5002, address="127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("Bye")
