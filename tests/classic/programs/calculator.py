"""Computes for its clients."""

import math
import sys

import tornado.ioloop
import tornado.web

import snorky
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import RPCError, RPCService, rpc_asynchronous, rpc_command


class CalculatorService(RPCService):
    def __init__(self, name):
        super().__init__(name)
        self.calls = 0

    @rpc_command
    def sum(self, req, number1, number2):
        self.calls += 1
        return number1 + number2

    @rpc_command
    def log(self, req, number, base=2.718):
        if number <= 0:
            raise RPCError("Math domain error")
        return math.log(number, base)

    @rpc_command
    @rpc_asynchronous
    def sumLater(self, req, number1, number2):
        tornado.ioloop.IOLoop.current().call_later(
            0.01, lambda: req.reply(self.sum(req, number1, number2))
        )

    def secret(self, req):
        return self.calls


registry = snorky.ServiceRegistry([CalculatorService("calculator")])
application = tornado.web.Application(
    [
        SnorkyWebSocketHandler.get_route(registry),
    ]
)

if __name__ == "__main__":
    application.listen(int(sys.argv[1]), address="127.0.0.1")
    try:
        tornado.ioloop.IOLoop.instance().start()
    except KeyboardInterrupt:
        tornado.ioloop.IOLoop.instance().stop()
