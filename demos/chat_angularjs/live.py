"""The rooms, and how Snorky learns who somebody is."""

from visitors import visitor

from snorky import ServiceRegistry
from snorky.identity import Refused
from snorky.services.chat import ChatService

ROOMS = ["Kitchen", "Garden", "Library"]


class Rooms(ChatService):
    def can_join(self, client, channel):
        return channel in ROOMS


def authenticate(handshake):
    """Whoever logged in to the web application has its cookie, and is nobody else."""
    name = visitor(handshake.cookies)
    if name is None:
        raise Refused(401, "Log in first")
    return name


frontend = ServiceRegistry([Rooms("chat")], authenticate=authenticate)
