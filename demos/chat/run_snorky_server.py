"""The server of the chat: a plain Tornado program, with the page and Messaging by SockJS.

Serves http://127.0.0.1:8000/. ``run.py`` does the same, with options.
"""

import asyncio
import re
from pathlib import Path

from tornado.web import Application, StaticFileHandler

import snorky
from snorky import ServiceRegistry
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.services.base import rpc_command
from snorky.services.messaging import MessagingService

HERE = Path(__file__).resolve().parent
CLIENT = Path(snorky.__file__).parent / "static"


class Messages(MessagingService):
    """Messaging that also tells everybody who is there, whenever that changes."""

    def __init__(self, name):
        super().__init__(name)
        self.clients = set()

    def is_name_allowed(self, client, name):
        return re.fullmatch(r"\w[\w .'-]{0,22}\w|\w", name) is not None

    @rpc_command
    def registerParticipant(self, req, name: str):
        super().registerParticipant(req, name)
        self.tell_who_is_there()

    def client_connected(self, client):
        self.clients.add(client)

    def client_disconnected(self, client):
        self.clients.discard(client)
        super().client_disconnected(client)
        self.tell_who_is_there()

    def tell_who_is_there(self):
        names = self.listParticipants(None)
        self.broadcast(self.clients, {"type": "participants", "names": names})


frontend = ServiceRegistry([Messages("messaging")])


def make_application():
    return Application(
        [
            *SnorkySockJSHandler.get_routes(frontend, "/sockjs"),
            ("/snorky/(.*)", StaticFileHandler, {"path": CLIENT}),
            (r"/(look\.css)", StaticFileHandler, {"path": HERE.parent}),
            ("/(.*)", StaticFileHandler, {"path": HERE / "page", "default_filename": "index.html"}),
        ]
    )


async def main():
    make_application().listen(8000, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("Bye")
