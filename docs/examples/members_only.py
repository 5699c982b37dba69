"""Who may connect, and who may do what."""

import secrets

from snorky import ServiceRegistry
from snorky.identity import Handshake, Refused
from snorky.services.pubsub import PubSubService

# In your program this is a look-up in the session store of the web application.
SESSIONS = {secrets.token_urlsafe(): "alice"} | {"a-session-of-bob": "bob"}


def authenticate(handshake: Handshake) -> str:
    name = SESSIONS.get(handshake.cookies.get("session", ""))
    if name is None:
        raise Refused(401, "Please log in")
    return name


class MembersOnly(PubSubService):
    def can_subscribe(self, client, channel):
        return channel == f"inbox of {client.identity}" or channel == "news"

    def can_publish(self, client, channel):
        return channel != "news"


frontend = ServiceRegistry([MembersOnly("pubsub")], authenticate=authenticate)
