"""A room for each address, in one class: an instance is a connection."""

from collections import defaultdict

from tornado.web import Application

from snorky.request_handlers.socketio import SocketIOHandler, SocketIOServer

rooms = defaultdict(set)


class RoomHandler(SocketIOHandler):
    def on_open(self, *args, **kwargs):
        if kwargs["room"] == "kitchen":
            return False  # staff only
        self.room = rooms[kwargs["room"]]
        self.room.add(self)
        self.send({"guests": len(self.room), "by": self.protocol})
        return True

    def on_message(self, message):
        for guest in self.room:
            guest.send(message)

    def on_close(self):
        self.room.discard(self)


if __name__ == "__main__":
    route = RoomHandler.routes("rooms", r"(?P<room>\w+)", extraSep="/")
    application = Application([route], socket_io_port=5001)
    SocketIOServer(application)
