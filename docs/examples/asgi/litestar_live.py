"""Litestar: services at /live/ws."""

import uvicorn
from litestar import Litestar, Request, asgi, post

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.services.pubsub import PubSubService

pubsub = PubSubService("pubsub")
live = SnorkyASGI(ServiceRegistry([pubsub]))


@post("/announce", status_code=204)
async def announce(request: Request) -> None:
    pubsub.do_publish("news", (await request.body()).decode())


app = Litestar([announce, asgi("/live", is_mount=True, copy_scope=True)(live)])

if __name__ == "__main__":
    uvicorn.run(app, port=5001)
