"""The smallest service: it sends back what it is sent."""

from tornado.ioloop import IOLoop
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Service


class EchoService(Service):
    def process_message_from(self, client, msg):
        self.send_message_to(client, msg)


if __name__ == "__main__":
    registry = ServiceRegistry([EchoService("echo")])
    application = Application([SnorkyWebSocketHandler.get_route(registry, "/ws")])
    application.listen(5001, address="127.0.0.1")
    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        print("Bye")
