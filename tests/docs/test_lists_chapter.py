"""The web applications of the chapter on lists without Django, run beside a real Snorky."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.browser.conftest import listens, wait_for
from tests.conftest import free_port
from tests.patience import patient

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples" / "lists"
ASKING = {"X-Snorky": "Subscribe", "X-User": "ann"}


class Page:
    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def call(self, command: str, **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 1}
        await self.socket.send(json.dumps({"service": "datasync", "message": message}))
        while (answer := await self.receive()).get("callId") != 1:
            pass
        return answer["data"]

    async def changes(self) -> list[Any]:
        while (frame := await self.receive())["type"] != "changes":
            pass
        return [(change["key"], change["data"]) for change in frame["changes"]]

    async def receive(self) -> Any:
        async with asyncio.timeout(patient(20)):
            return json.loads(await self.socket.recv())["message"]


@pytest.fixture
def site(run_program: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """``site("fastapi_site", snorky)`` -> its address."""

    def run(name: str, snorky: Any = None) -> str:
        port = free_port()
        shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
        command = ["-m", "uvicorn", f"{name}:app", "--port", str(port)]
        if name == "wsgi_site":
            command = [f"{name}.py"]
        url = snorky.backend_url if snorky else ""
        env = {"SNORKY_API_KEY": "swordfish", "SNORKY_BACKEND_URL": url, "PORT": str(port)}
        run_program([sys.executable, *command], cwd=tmp_path, **env)
        wait_for(lambda: listens(port), f"{name} listens")
        return f"http://127.0.0.1:{port}"

    return run


async def test_a_team_hears_of_its_tasks_and_a_write_of_its_key(
    serve: Callable[..., Any], site: Callable[..., str]
) -> None:
    snorky = serve(EXAMPLES / "live.py")
    url = f"{site('fastapi_site', snorky)}/api/tasks/"
    answer = httpx2.get(url, headers=ASKING)
    assert answer.json() == []
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert httpx2.get(url, headers=ASKING | {"X-User": "eve"}).status_code == 403

    async with websockets.connect(snorky.url) as socket:
        page = Page(socket)
        token = answer.headers["X-Subscription-Token"]
        [opened] = await page.call("openSubscriptions", subscriptions=[{"token": token}])
        assert opened["recovered"]

        httpx2.post(url, json={"title": "Hide"}, headers={"X-User": "bob"}).raise_for_status()
        written = httpx2.post(url, json={"title": "Dig"}, headers={"X-User": "ann"})
        row = written.json()
        assert row == {"id": 2, "team": 1, "title": "Dig"}
        assert await page.changes() == [(2, row)]
        keys = written.headers["X-Snorky-Keys"].split(",")
        assert isinstance(await page.call("awaitKeys", keys=keys), str)

        changed = httpx2.put(f"{url}2", json={"title": "Rest"}, headers={"X-User": "ann"})
        assert await page.changes() == [(2, changed.json())]
        missing = httpx2.put(f"{url}1", json={"title": "Seek"}, headers={"X-User": "ann"})
        assert missing.status_code == 404


async def test_one_program_needs_no_key(site: Callable[..., str]) -> None:
    address = site("in_process")
    answer = httpx2.get(f"{address}/api/tasks/", headers=ASKING)
    async with websockets.connect(f"ws{address.removeprefix('http')}/live/ws") as socket:
        page = Page(socket)
        token = answer.headers["X-Subscription-Token"]
        await page.call("openSubscriptions", subscriptions=[{"token": token}])
        for title in ("Dig", "Rest"):
            httpx2.put(f"{address}/api/tasks/7", params={"title": title}).raise_for_status()
            assert await page.changes() == [(7, {"id": 7, "title": title})]


async def test_a_page_of_another_origin_may_ask_and_read(
    serve: Callable[..., Any], site: Callable[..., str]
) -> None:
    snorky = serve(EXAMPLES / "live.py")
    address = site("wsgi_site", snorky)
    page = {"Origin": "https://app.example.com"}
    asked = httpx2.options(
        address,
        headers=page
        | {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "x-snorky",
        },
    )
    assert asked.headers["Access-Control-Allow-Origin"] == page["Origin"]
    assert asked.headers["Access-Control-Allow-Headers"] == "x-snorky"

    answer = httpx2.get(address, headers=ASKING | page)
    assert "X-Subscription-Token" in answer.headers["Access-Control-Expose-Headers"]
    async with websockets.connect(snorky.url) as socket:
        opened = [{"token": answer.headers["X-Subscription-Token"]}]
        await Page(socket).call("openSubscriptions", subscriptions=opened)
        written = httpx2.post(address, content="Dig", headers=page)
        assert await Page(socket).changes() == [(1, {"id": 1, "title": "Dig"})]
    assert written.headers["Access-Control-Expose-Headers"] == "X-Snorky-Keys"
