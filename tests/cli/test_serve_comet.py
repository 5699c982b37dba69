"""``snorky serve`` lets clients in at /comet, and says goodbye to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2

APP = """
from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubService

frontend = ServiceRegistry([PubSubService("pubsub")])
"""


async def test_it_serves_comet_and_says_goodbye(tmp_path: Path, serve: Any) -> None:
    file = tmp_path / "live.py"
    file.write_text(APP)
    server = serve(file)
    url = server.url.replace("ws:", "http:").removesuffix("/ws") + "/comet"
    async with httpx2.AsyncClient(timeout=10) as http:
        foreign = await http.post(url, headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
        session = {"session": (await http.post(url)).json()["session"], "after": 0}
        async with http.stream("GET", url + "/events", params=session) as response:
            stopped = asyncio.create_task(asyncio.to_thread(server.stop))
            text = (await response.aread()).decode()
        assert text.endswith('event: close\ndata: [1001, "server going away"]\n\n')
        assert await stopped == 0
    assert not any(session["session"] in line for line in server.lines)
