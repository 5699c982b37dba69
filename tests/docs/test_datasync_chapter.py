"""The programs, the filters and the error texts of the chapter on DataSync."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from snorky.backend import SnorkyBackend, SnorkyError, SnorkyHTTPTransport
from snorky.services.datasync.dealers import BadQuery, filter_matches
from tests.browser.conftest import listens, wait_for
from tests.patience import patient
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples" / "datasync"
PAGE = ROOT / "docs" / "guide" / "datasync.md"
ENV = {"SNORKY_API_KEY": "swordfish"}
ACQUIRED = {"type": "response", "callId": 1, "data": None}


class Subscriber:
    """What a page would do with a token, in Python."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def acquire(self, token: str) -> Any:
        call = {"command": "acquireSubscription", "params": {"token": token}, "callId": 1}
        await self.socket.send(json.dumps({"service": "datasync", "message": call}))
        return await self.receive()

    async def receive(self) -> Any:
        async with asyncio.timeout(patient(20)):
            return json.loads(await self.socket.recv())["message"]

    async def delta(self) -> Any:
        message = await self.receive()
        assert message["type"] == "delta", message
        return message["delta"]


@pytest.fixture
def website(run_program: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[Any, str]]:
    """``website(snorky)`` -> the web application, running, and its address."""

    def run(snorky: Any) -> tuple[Any, str]:
        port = free_port()
        text = (EXAMPLES / "website.py").read_text().replace("5002", str(snorky.backend_port))
        file = tmp_path / "website.py"
        file.write_text(text.replace("8000", str(port)))
        shutil.copy(EXAMPLES / "page.html", tmp_path)
        program = run_program([sys.executable, "-W", "error", str(file)], cwd=tmp_path, **ENV)
        wait_for(lambda: listens(port), "the web application listens")
        return program, f"http://127.0.0.1:{port}"

    return run


def subscribe(address: str) -> httpx2.Response:
    return httpx2.get(f"{address}/api", headers={"X-Snorky": "Subscribe"}).raise_for_status()


async def test_the_web_application_tells_its_subscribers_what_it_commits(
    serve: Callable[..., Any], website: Callable[..., tuple[Any, str]]
) -> None:
    snorky = serve(EXAMPLES / "live.py")
    program, address = website(snorky)
    answer = subscribe(address)
    assert answer.json() == {"orders": [], "dish": {"id": 1, "name": "Scones"}}
    # What changes before the token is acquired is kept for it.
    httpx2.post(f"{address}/api/orders", json={"item": "Tea"}).raise_for_status()

    async with websockets.connect(snorky.url) as socket:
        page = Subscriber(socket)
        kept = (await page.acquire(answer.headers["X-Subscription-Token"]))["delta"]
        order = kept["data"]
        assert order == {"id": 1, "item": "Tea", "at": order["at"], "done": False}
        assert kept == {"type": "insert", "model": "Order", "data": order}
        assert await page.receive() == ACQUIRED

        # Done is out of what was subscribed to: the update comes as a deletion.
        httpx2.post(f"{address}/api/orders/1/done", json={}).raise_for_status()
        assert await page.delta() == {"type": "delete", "model": "Order", "data": order}

        httpx2.put(f"{address}/api/dish", json={"name": "Cake"}).raise_for_status()
        old, new = {"id": 1, "name": "Scones"}, {"id": 1, "name": "Cake"}
        update = {"type": "update", "model": "Dish", "newData": new, "oldData": old}
        assert await page.delta() == update

    assert subscribe(address).json() == {"orders": [], "dish": new}
    assert httpx2.post(f"{address}/api/orders/2/done", json={}).status_code == 404
    assert httpx2.post(f"{address}/api/orders", content="{}").status_code == 415
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines[-1] == "Bye"


async def test_without_snorky_the_web_application_works_on(
    serve: Callable[..., Any], website: Callable[..., tuple[Any, str]]
) -> None:
    snorky = serve(EXAMPLES / "live.py")
    program, address = website(snorky)
    assert await asyncio.to_thread(snorky.stop) == 0
    httpx2.post(f"{address}/api/orders", json={"item": "Tea"}).raise_for_status()
    await asyncio.to_thread(program.wait_for, "A delta was lost")
    answer = subscribe(address)
    assert [order["item"] for order in answer.json()["orders"]] == ["Tea"]
    assert "X-Subscription-Token" not in answer.headers


@pytest.fixture
def backend_of() -> Any:
    transports: list[SnorkyHTTPTransport] = []

    def connect(snorky: Any) -> SnorkyBackend:
        transports.append(SnorkyHTTPTransport(snorky.backend_url, "swordfish"))
        return SnorkyBackend(transports[-1])

    yield connect
    for transport in transports:
        transport.close()


async def test_dealers_of_ones_own(serve: Callable[..., Any], backend_of: Any) -> None:
    snorky = serve(EXAMPLES / "dealers.py")
    backend = backend_of(snorky)
    view = {"west": 0, "south": 0, "east": 10, "north": 10}

    def authorize(*items: Any) -> Any:
        return backend.call("datasync_backend", "authorizeSubscription", items=list(items))

    with pytest.raises(SnorkyError, match=r"Expected a view: .*missing required field `north`"):
        authorize({"dealer": "BusesInView", "query": {"west": 0, "south": 0, "east": 10}})

    token = authorize({"dealer": "BusesInView", "query": view}, {"dealer": "Menu", "query": None})
    here, there = {"id": 7, "x": 5, "y": 5}, {"id": 7, "x": 15, "y": 5}
    scones, cake = {"id": 1, "name": "Scones"}, {"id": 1, "name": "Cake"}
    async with websockets.connect(snorky.url) as socket:
        page = Subscriber(socket)
        assert await page.acquire(token) == ACQUIRED
        backend.call(
            "datasync_backend",
            "publishDeltas",
            deltas=[
                {"type": "insert", "model": "Bus", "data": there},
                {"type": "update", "model": "Bus", "newData": here, "oldData": there},
                {"type": "update", "model": "Bus", "newData": there, "oldData": here},
                {"type": "insert", "model": "Dish", "data": {**scones, "cost": 1}},
                {
                    "type": "update",
                    "model": "Dish",
                    "newData": {**cake, "cost": 2},
                    "oldData": {**scones, "cost": 1},
                },
                {"type": "delete", "model": "Dish", "data": {**cake, "cost": 2}},
            ],
        )
        assert [await page.delta() for _ in range(5)] == [
            {"type": "insert", "model": "Bus", "data": here},
            {"type": "delete", "model": "Bus", "data": here},
            {"type": "insert", "model": "Dish", "data": scones},
            {"type": "update", "model": "Dish", "newData": cake, "oldData": scones},
            {"type": "delete", "model": "Dish", "data": cake},
        ]


def test_the_sorted_collection_prints_what_the_page_says(tmp_path: Path) -> None:
    folder = tmp_path / "node_modules" / "snorky"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"type": "module", "exports": "./snorky.mjs"}')
    shutil.copy(ROOT / "snorky" / "static" / "snorky.mjs", folder)
    file = shutil.copy(EXAMPLES / "sorted.mjs", tmp_path)
    done = subprocess.run(
        ["node", file], capture_output=True, text=True, timeout=patient(60), check=True
    )
    lines = done.stdout.splitlines()
    assert lines == ["Cake, Tea", "Afternoon tea, Cake"]
    assert "".join(f"    {line}\n" for line in lines) in PAGE.read_text()


def table(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    lines = PAGE.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def code(cell: str) -> list[Any]:
    return [json.loads(text) for text in re.findall(r"`([^`]+)`", cell)]


def test_filters_match_what_the_page_says() -> None:
    filters = table("filter")
    assert len(filters) >= 8
    for query, matching, others in filters:
        assert code(matching) or code(others)
        for row in code(matching):
            assert filter_matches(row, code(query)[0]), (query, row)
        for row in code(others):
            assert not filter_matches(row, code(query)[0]), (query, row)


def test_faulty_filters_are_refused_as_the_page_says() -> None:
    refused = table("faulty")
    assert len(refused) >= 4
    for query, text in refused:
        with pytest.raises(BadQuery) as error:
            filter_matches({}, code(query)[0])
        assert text == f"`{error.value}`"
