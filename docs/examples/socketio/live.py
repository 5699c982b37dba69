"""Services for pages that use Socket.IO."""

from tornado.ioloop import IOLoop
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.services.base import RPCError, RPCService, rpc_command
from snorky.services.pubsub import PubSubService


class CalculatorService(RPCService):
    @rpc_command
    def divide(self, req, number1: float, number2: float):
        if number2 == 0:
            raise RPCError("Nothing can be divided by 0")
        return number1 / number2


if __name__ == "__main__":
    registry = ServiceRegistry([CalculatorService("calculator"), PubSubService("pubsub")])
    application = Application([SnorkySocketIOHandler.get_route(registry)])
    application.listen(5001, address="127.0.0.1")
    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        print("Bye")
