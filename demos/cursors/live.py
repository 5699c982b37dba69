"""A board: everybody's pointer on it, and what everybody has drawn."""

from itertools import count
from typing import Annotated

from msgspec import Meta

from snorky import ServiceRegistry
from snorky.services.base import RPCService, rpc_command
from snorky.services.cursors import CursorsService

WIDTH, HEIGHT = 1600, 1200  # of the board, in its own units
COLOURS = 8
MOST_POINTS = 10_000  # on the whole board: of more, the oldest strokes go

X = Annotated[int, Meta(ge=0, le=WIDTH)]
Y = Annotated[int, Meta(ge=0, le=HEIGHT)]
Points = Annotated[list[tuple[X, Y]], Meta(min_length=1, max_length=200)]
Number = Annotated[int, Meta(ge=0)]
Colour = Annotated[int, Meta(ge=0, lt=COLOURS)]


class Pointers(CursorsService):
    def can_join(self, client, document):
        return document == "board"


class Drawing(RPCService):
    """Strokes, each drawn bit by bit. The server keeps them for whoever comes later."""

    def __init__(self, name):
        super().__init__(name)
        self.viewers = set()
        self.strokes = {}  # visitor and its own number -> the stroke; the oldest first
        self.points = 0

    @rpc_command
    def look(self, req):
        """Reply with what is on the board; what is drawn from now on follows."""
        self.viewers.add(req.client)
        return list(self.strokes.values())

    @rpc_command
    def draw(self, req, number: Number, colour: Colour, points: Points):
        key = f"{req.client.identity}-{number}"
        stroke = self.strokes.setdefault(key, {"key": key, "colour": colour, "points": []})
        stroke["points"] += points
        self.points += len(points)
        while self.points > MOST_POINTS:
            oldest = self.strokes.pop(next(iter(self.strokes)))
            self.points -= len(oldest["points"])
        others = [viewer for viewer in self.viewers if viewer is not req.client]
        self.broadcast(others, {"type": "drawn", **stroke, "points": points})

    @rpc_command
    def clear(self, req):
        self.strokes.clear()
        self.points = 0
        self.broadcast(self.viewers, {"type": "cleared"})

    def client_disconnected(self, client):
        self.viewers.discard(client)


visitors = count(1)


def authenticate(handshake):
    """Nobody has to say who they are: every connection is a new visitor."""
    return next(visitors)


frontend = ServiceRegistry(
    [Pointers("cursors"), Drawing("drawing")],
    authenticate=authenticate,
)
