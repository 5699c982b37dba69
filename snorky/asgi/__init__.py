"""Services inside an ASGI application: Starlette, FastAPI, Django, Litestar, or none of them.

Nothing of these is imported here, and nothing of the ASGI server that runs them.
"""

from snorky.asgi.application import SnorkyASGI
from snorky.asgi.comet import ASGICometClient
from snorky.asgi.scopes import ASGIHandshake
from snorky.asgi.websocket import ASGIClient

__all__ = ["ASGIClient", "ASGICometClient", "ASGIHandshake", "SnorkyASGI"]
