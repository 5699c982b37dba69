"""Starlette: services at /live/ws, for those whom the middleware knows."""

import uvicorn
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import Response
from starlette.routing import Mount, Route

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.identity import Refused
from snorky.services.pubsub import PubSubService

MEMBERS = {"a-token-of-ana": "ana", "a-token-of-bob": "bob"}


class Tokens(AuthenticationBackend):
    async def authenticate(self, conn):
        name = MEMBERS.get(conn.cookies.get("token"))
        return (AuthCredentials(["member"]), SimpleUser(name)) if name else None


def authenticate(handshake):
    user = handshake.scope["user"]  # as the middleware has put it there
    if not user.is_authenticated:
        raise Refused(401, "Please log in")
    return user.username


pubsub = PubSubService("pubsub")
frontend = ServiceRegistry([pubsub], authenticate=authenticate)


async def announce(request):
    pubsub.do_publish("news", (await request.body()).decode())
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/announce", announce, methods=["POST"]),
        Mount("/live", SnorkyASGI(frontend)),
    ],
    middleware=[Middleware(AuthenticationMiddleware, backend=Tokens())],
)

if __name__ == "__main__":
    uvicorn.run(app, port=5001)
