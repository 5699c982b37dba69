"""Documents in which everybody sees where the others are."""

from snorky import ServiceRegistry
from snorky.identity import Refused
from snorky.services.cursors import CursorsService


def authenticate(handshake):
    # In your program somebody has logged in: see the page on identity.
    name = handshake.arguments.get("name", [""])[0]
    if not name:
        raise Refused(401, "Who are you?")
    return name


class Documents(CursorsService):
    def can_join(self, client, document):
        return document == "plan" or client.identity == "treasurer"


frontend = ServiceRegistry([Documents("cursors")], authenticate=authenticate)
