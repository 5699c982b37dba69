"""Socket.IO: its clients reach every service, or a class of the application's own.

Needs ``snorky[socketio]``.
"""

from snorky.request_handlers.socketio.handler import SocketIOHandler, SocketIOServer
from snorky.request_handlers.socketio.server import SocketIOHandshake
from snorky.request_handlers.socketio.services import SnorkySocketIOHandler, SocketIOClient

__all__ = [
    "SnorkySocketIOHandler",
    "SocketIOClient",
    "SocketIOHandler",
    "SocketIOHandshake",
    "SocketIOServer",
]
