"""Rooms for members: who may speak, who hears it, and the web application that joins in."""

from snorky import ServiceRegistry
from snorky.identity import Refused
from snorky.services.base import RPCError, rpc_command
from snorky.services.pubsub import PubSubBackend, PubSubService

MEMBERS = {"kitchen": {"alice", "bob"}, "parlour": {"alice"}}  # in your program: the database


def authenticate(handshake):
    name = handshake.cookies.get("name")  # in your program: the session
    if name is None:
        raise Refused(401, "Please log in")
    return name


class Rooms(PubSubService):
    def can_subscribe(self, client, channel):
        return client.identity in MEMBERS.get(channel, ())

    def can_publish(self, client, channel):
        return False  # pages say it with `say`, the web application publishes

    @rpc_command
    def say(self, req, room: str, text: str):
        if req.client.identity not in MEMBERS.get(room, ()):
            raise RPCError("Members only")
        self.do_publish(room, {"from": req.client.identity, "text": text})
        return {"length": len(text)}


rooms = Rooms("rooms")
frontend = ServiceRegistry([rooms], authenticate=authenticate)
backend = ServiceRegistry([PubSubBackend("rooms_backend", rooms)])
