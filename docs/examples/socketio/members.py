"""Who may connect by Socket.IO, and from which pages."""

from tornado.ioloop import IOLoop
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.identity import Refused
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.services.pubsub import PubSubService

# In your program this asks the session store, or checks a signature.
TOKENS = {"a-token-of-alice": "alice", "a-token-of-bob": "bob"}


def authenticate(handshake):
    token = (handshake.auth or {}).get("token")
    if token not in TOKENS:
        raise Refused(401, "Please log in")
    return TOKENS[token]


class News(PubSubService):
    def can_publish(self, client, channel):
        return client.identity == "alice"


if __name__ == "__main__":
    registry = ServiceRegistry([News("pubsub")], authenticate=authenticate)
    route = SnorkySocketIOHandler.get_route(registry, allowed_origins=["https://www.example.com"])
    Application([route]).listen(5001, address="127.0.0.1")
    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        print("Bye")
