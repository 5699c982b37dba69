"""Who is writing, told to the others in the room: snorky serve live.py --page page.html"""

from snorky import ServiceRegistry
from snorky.services.base import RPCError, RPCService, rpc_command


class Typing(RPCService):
    """A client is in one room at a time."""

    def __init__(self, name):
        super().__init__(name)
        self.rooms = {}  # name -> the clients in it
        self.room_of = {}  # client -> name

    def can_enter(self, client, room):
        return True

    @rpc_command
    def enter(self, req, room: str):
        if len(room) > 100 or not self.can_enter(req.client, room):
            raise RPCError("Not allowed")
        self.client_disconnected(req.client)
        self.rooms.setdefault(room, set()).add(req.client)
        self.room_of[req.client] = room

    @rpc_command
    def typing(self, req):
        room = self.room_of.get(req.client)
        if room is None:
            raise RPCError("Not in a room")
        others = self.rooms[room] - {req.client}
        self.broadcast(others, {"type": "typing", "who": req.client.identity})

    def client_disconnected(self, client):
        room = self.room_of.pop(client, None)
        if room is not None:
            self.rooms[room].remove(client)
            if not self.rooms[room]:
                del self.rooms[room]


def authenticate(handshake):
    """Your log-in, in its place: here people say who they are."""
    return handshake.arguments.get("name", ["somebody"])[0][:40]


frontend = ServiceRegistry([Typing("typing")], authenticate=authenticate)
