"""What docs/examples/fallbacks/live.py serves, inside an ASGI server."""

from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import snorky
from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.services.pubsub import PubSubService

client_files = StaticFiles(directory=Path(snorky.__file__).parent / "static")
page = FileResponse(Path(__file__).parent / "page.html")
routes = [Mount("/static", client_files), Route("/page.html", lambda request: page)]
pages = Starlette(routes=routes)

if __name__ == "__main__":
    app = SnorkyASGI(ServiceRegistry([PubSubService("pubsub")]), app=pages)
    uvicorn.run(app, port=5001, log_level="warning")
