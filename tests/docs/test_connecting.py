"""The program of the page on connecting, in Node, through a restart of the server."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.patience import patient
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples" / "connecting"
ESBUILD = ROOT / "client" / "node_modules" / ".bin" / "esbuild"
SOCKET = 'import WebSocket from "ws";\n'  # as the page says for Node


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder in which the client is installed."""
    folder = tmp_path / "node_modules" / "snorky"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"type": "module", "exports": "./snorky.mjs"}')
    shutil.copy(ROOT / "snorky" / "static" / "snorky.mjs", folder)
    (tmp_path / "node_modules" / "ws").symlink_to(ROOT / "client" / "node_modules" / "ws")
    return tmp_path


@pytest.mark.parametrize("bundled", [False, True], ids=["as it is", "by a bundler"])
async def test_the_program_prints_what_the_page_says(
    bundled: bool, serve: Callable[..., Any], run_program: Callable[..., Any], package: Path
) -> None:
    ports = ["--port", str(free_port()), "--backend-port", str(free_port())]
    server = serve(EXAMPLES / "live.py", *ports)
    program = (EXAMPLES / "page.mjs").read_text()
    assert "ws://localhost:5001/ws" in program
    file = package / "page.mjs"
    file.write_text(SOCKET + program.replace("ws://localhost:5001/ws", server.url))
    if bundled:
        options = ["--bundle", "--format=esm", "--external:ws", "--minify", "--log-level=error"]
        options += ["--outfile=bundle.mjs"]
        subprocess.run([ESBUILD, str(file), *options], cwd=package, check=True, timeout=patient(60))
        shutil.rmtree(package / "node_modules" / "snorky")
        file = package / "bundle.mjs"
    page = run_program(["node", file.name], cwd=package)
    await asyncio.to_thread(page.wait_for, "cake: Sold out")
    # The piano is asked for when the cake was refused; later calls are answered after it arrived.
    await publish(server.url, "before")
    await asyncio.to_thread(page.wait_for, "News: before")

    assert await asyncio.to_thread(server.stop, signal.SIGKILL) == -signal.SIGKILL
    await asyncio.to_thread(page.wait_for, "piano")
    server = serve(EXAMPLES / "live.py", *ports)
    async with asyncio.timeout(patient(20)):
        while "News: after" not in page.lines:  # published until it has subscribed again
            await publish(server.url, "after")
            await asyncio.sleep(0.05)
    news = {"News: before", "News: after"}
    told = [line for line in page.lines if line not in news]
    drop = ["Disconnected: 1006, trying again"]
    attempts = told.count(drop[0])  # one for the drop, one for each attempt in vain
    assert attempts >= 1
    assert [line for line in told if line not in drop] == [
        "Connected by websocket",
        "tea: reserved",
        "cake: Sold out",
        "piano: perhaps, look it up",
        "Connected by websocket",
    ]


async def publish(url: str, message: str) -> None:
    params = {"channel": "news", "message": message}
    call = {"command": "publish", "params": params, "callId": 1}
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps({"service": "pubsub", "message": call}))
        await asyncio.wait_for(socket.recv(), patient(20))
