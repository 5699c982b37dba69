"""The client in a worker, loaded as the page on connecting says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

LIVE = Path(__file__).parents[2] / "docs" / "examples" / "connecting" / "live.py"
WORKER = """
importScripts("http://127.0.0.1:PORT/static/snorky.min.js");
const services = {pubsub: Snorky.PubSub};
const {pubsub} = new Snorky(WebSocket, "ws://127.0.0.1:PORT/ws", services).services;
pubsub.messagePublished.add(({message}) => postMessage(message));
pubsub.subscribe({channel: "news"});
pubsub.publish({channel: "news", message: "from a worker"});
"""


def test_a_worker_is_a_page_without_a_document(serve: Callable[..., Any], browser: Browser) -> None:
    server = serve(LIVE)
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/live")
    program = WORKER.replace("PORT", str(server.port))
    heard = page.evaluate(
        """(program) => new Promise((resolve, reject) => {
            const worker = new Worker(URL.createObjectURL(new Blob([program])));
            worker.onmessage = ({data}) => resolve(data);
            worker.onerror = ({message}) => reject(message);
        })""",
        program,
    )
    assert heard == "from a worker"
    page.close()
