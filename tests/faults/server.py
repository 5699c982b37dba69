"""The server that the offenders of this folder meet: python server.py asyncio|uvloop.

Prints its port when it listens; logs to standard error.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Request, RPCService, rpc_command
from snorky.services.pubsub import PubSubBackend, PubSubService


class Turns(RPCService):
    """How much processor time the turns of the loop take: what others have to wait for.

    Unlike the time on the clock it does not depend on what else runs on the machine.
    """

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds: list[float] = []
        self._before = time.thread_time()
        self._measure()

    def _measure(self) -> None:
        now = time.thread_time()
        self._seconds.append(now - self._before)
        self._before = now
        self._loop.call_later(0.001, self._measure)

    @rpc_command
    def percentile(self, req: Request) -> float:
        """The 99th percentile since it was last asked for."""
        seconds, self._seconds = sorted(self._seconds), [0.0]
        return seconds[len(seconds) * 99 // 100]


class Echo(RPCService):
    @rpc_command
    def echo(self, req: Request, value: Any) -> Any:
        return value

    @rpc_command
    async def wait(self, req: Request) -> None:
        await asyncio.sleep(60)

    @rpc_command
    def work(self, req: Request) -> None:
        """Keep the processor busy for a millisecond."""
        end = time.thread_time() + 0.001
        while time.thread_time() < end:
            pass


async def main() -> None:
    pubsub = PubSubService("pubsub")
    turns = Turns("turns")
    frontend = ServiceRegistry([pubsub, Echo("echo"), turns], limits=Limits(close_timeout=0.3))
    backend = ServiceRegistry([PubSubBackend("pubsub_backend", pubsub)])
    application = Application(
        [
            SnorkyWebSocketHandler.get_route(frontend, "/"),
            ("/backend", BackendHTTPHandler, {"service_registry": backend, "api_key": "key"}),
        ],
        log_function=lambda handler: None,
    )
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(application).add_sockets(sockets)
    turns.start()
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    factories = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    with asyncio.Runner(loop_factory=factories[sys.argv[1]]) as runner:
        runner.run(main())
