"""Person to person, for browsers that have no WebSocket."""

import sys

from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

from snorky import ServiceRegistry
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.services.messaging import MessagingService


class PoliteMessaging(MessagingService):
    def is_name_allowed(self, client, name):
        return name != "root"


class MainHandler(RequestHandler):
    def get(self):
        self.write("The page")


if __name__ == "__main__":
    registry = ServiceRegistry()
    registry.register_service(PoliteMessaging("messaging"))

    application = Application(
        SnorkySockJSHandler.get_routes(registry, "/sockjs")  # noqa: RUF005  # as the manual has it
        + [
            (r"/", MainHandler),
        ]
    )
    application.listen(int(sys.argv[1]))

    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        IOLoop.instance().stop()
