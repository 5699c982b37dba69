"""A chat room: one service, for whoever is in it.

It knows nothing of Socket.IO: pages with Snorky's own client, or a plain WebSocket, may join too.
"""

from collections import deque
from typing import Annotated

from msgspec import Meta

from snorky.services.base import RPCError, RPCService, rpc_command

Name = Annotated[str, Meta(min_length=1, max_length=24, pattern=r"^\S(.*\S)?$")]
Text = Annotated[str, Meta(min_length=1, max_length=500)]


class Room(RPCService):
    def __init__(self, name):
        super().__init__(name)
        self.names = {}  # client -> its name
        self.said = deque(maxlen=50)  # for who comes later

    @rpc_command
    def join(self, req, name: Name):
        if name in self.names.values():
            raise RPCError("Somebody here has this name")
        if req.client in self.names:
            raise RPCError("You are in already")
        self.broadcast(self.names, {"type": "joined", "name": name})
        self.names[req.client] = name
        return {"members": sorted(self.names.values()), "said": list(self.said)}

    @rpc_command
    def say(self, req, text: Text):
        if req.client not in self.names:
            raise RPCError("Join first")
        line = {"name": self.names[req.client], "text": text}
        self.said.append(line)
        self.broadcast(self.names, {"type": "said", **line})

    def client_disconnected(self, client):
        name = self.names.pop(client, None)
        if name is not None:
            self.broadcast(self.names, {"type": "left", "name": name})
