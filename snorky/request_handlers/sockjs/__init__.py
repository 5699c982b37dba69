"""SockJS: the services of a registry for browsers and networks that let no WebSocket through."""

from snorky.request_handlers.sockjs.handler import SnorkySockJSHandler
from snorky.request_handlers.sockjs.sessions import ConnectionInfo, SockJSClient

__all__ = ["ConnectionInfo", "SnorkySockJSHandler", "SockJSClient"]
