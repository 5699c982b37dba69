"""The programs of the chapter on channels: a page that moves, and a moderator."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from snorky.backend.aio import SnorkyBackend, SnorkyHTTPTransport
from tests.brokers.proxy import Proxy
from tests.patience import patient
from tests.servers import Valkey

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples" / "channels"
KEY = {"SNORKY_API_KEY": "swordfish"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder in which the client is installed."""
    folder = tmp_path / "node_modules" / "snorky"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"type": "module", "exports": "./snorky.mjs"}')
    shutil.copy(ROOT / "snorky" / "static" / "snorky.mjs", folder)
    (tmp_path / "node_modules" / "ws").symlink_to(ROOT / "client" / "node_modules" / "ws")
    return tmp_path


async def test_a_page_misses_nothing_and_a_moderator_sees_everybody(
    serve: Callable[..., Any],
    run_program: Callable[..., Any],
    package: Path,
    valkey: Valkey,
) -> None:
    servers = [serve(EXAMPLES / "live.py", "--broker", valkey.url, **KEY) for _ in range(2)]
    ports = [urlsplit(server.url).port or 0 for server in servers]
    proxy = await Proxy(ports[0]).start()
    program = (EXAMPLES / "page.mjs").read_text()
    assert "ws://localhost:5001/ws" in program
    at = program.replace("localhost:5001", f"127.0.0.1:{proxy.port}")
    (package / "page.mjs").write_text(f'import WebSocket from "ws";\n{at}')
    page = run_program(["node", "page.mjs"], cwd=package)
    await asyncio.to_thread(page.wait_for, "lobby 1 are here")
    assert page.lines[0] == "match/7 watched by alice"

    async with SnorkyHTTPTransport(servers[1].backend_url, "swordfish") as transport:
        snorky = SnorkyBackend(transport)

        async def publish(message: Any) -> None:
            await snorky.call("matches_backend", "publish", channel="match/7", message=message)

        await publish("kick-off")
        await asyncio.to_thread(page.wait_for, "match/7 kick-off")
        proxy.refuses, proxy._target = True, ports[1]
        proxy.cut()
        await publish("goal")
        await publish("another goal")
        proxy.refuses = False
        await asyncio.to_thread(page.wait_for, "match/7 another goal")
        told = [line for line in page.lines if "goal" in line]
        assert told == ["match/7 goal", "match/7 another goal"]

    moderate = [sys.executable, str(EXAMPLES / "moderate.py")]
    run = subprocess.run
    env = {**KEY, "SNORKY_BACKEND_URL": servers[0].backend_url}
    limits: dict[str, Any] = {"capture_output": True, "text": True, "timeout": patient(30)}
    done = await asyncio.to_thread(run, moderate, env=env, check=False, **limits)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "match/7 alice\n[{'address': '127.0.0.1'}]\n1 closed\n"
    await asyncio.to_thread(page.wait_for, "match/7 Be fair")
    await proxy.stop()
