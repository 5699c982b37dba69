"""Takes its clients for whom their cookie says."""

import sys

from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

from snorky import ServiceRegistry
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Service


class WhoAmI(Service):
    def client_connected(self, client):
        self.send_message_to(client, {"you": client.identity, "from": client.remote_address})

    def process_message_from(self, client, msg):
        client.req_handler.write_message(f"raw {msg}")
        client.req_handler.close(4000, "done")


class IdentityHandler(SnorkyWebSocketHandler):
    def check_origin(self, origin):
        return origin == "http://page.example"

    def open(self):
        self.client.identity = self.get_cookie("user")
        super().open()

    def on_message(self, message):
        print("message", message)
        super().on_message(message)

    def on_close(self):
        print("closed", self.client.identity)
        super().on_close()


class LoginHandler(RequestHandler):
    def get(self, user):
        self.set_cookie("user", user)
        self.write("Hello")


if __name__ == "__main__":
    registry = ServiceRegistry([WhoAmI("who")])
    Application(
        [
            IdentityHandler.get_route(registry, "/ws"),
            (r"/login/(\w+)", LoginHandler),
        ]
    ).listen(int(sys.argv[1]))

    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        IOLoop.instance().stop()
