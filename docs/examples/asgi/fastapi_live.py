"""FastAPI: services at /live/ws, and a back end with a key at /live/backend."""

import os

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.services.pubsub import PubSubBackend, PubSubService

pubsub = PubSubService("pubsub")
frontend = ServiceRegistry([pubsub])
backend = ServiceRegistry([PubSubBackend("pubsub_backend", pubsub)])

app = FastAPI()
app.mount("/live", SnorkyASGI(frontend, backend, os.environ["SNORKY_API_KEY"]))
app.mount("/static", StaticFiles(packages=[("snorky", "static")]))  # its client, for the page


class News(BaseModel):
    text: str


@app.post("/announce", status_code=204)
async def announce(news: News) -> None:
    pubsub.do_publish("news", news.text)


if __name__ == "__main__":
    uvicorn.run(app, port=5001)
