"""A chat for whoever says a name, with a room for one."""

from snorky import ServiceRegistry
from snorky.identity import Refused
from snorky.services.chat import ChatService


def authenticate(handshake):
    # In your program somebody has logged in: see the page on identity.
    name = handshake.arguments.get("name", [""])[0]
    if not name:
        raise Refused(401, "Who are you?")
    return name


class Rooms(ChatService):
    def can_join(self, client, channel):
        return channel == "tea" or client.identity == "cook"


frontend = ServiceRegistry([Rooms("chat")], authenticate=authenticate)
