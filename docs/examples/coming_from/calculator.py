"""A program as they were written for Snorky 0.1, with nothing changed."""

import sys

from tornado.ioloop import IOLoop
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import RPCService, rpc_asynchronous, rpc_command


class Calculator(RPCService):
    @rpc_command
    def sum(self, req, number1, number2):
        return number1 + number2

    @rpc_command
    @rpc_asynchronous
    def slow_sum(self, req, number1, number2):
        IOLoop.current().call_later(0.1, lambda: req.reply(number1 + number2))


if __name__ == "__main__":
    registry = ServiceRegistry([Calculator("calculator")])
    Application([SnorkyWebSocketHandler.get_route(registry, "/ws")]).listen(5001)
    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        sys.exit(0)
