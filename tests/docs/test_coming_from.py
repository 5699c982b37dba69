"""The programs of the pages for those who come from elsewhere do what these say."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import websockets

from tests.docs.test_examples import Page, connect_when_up
from tests.patience import patient

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples" / "coming_from"
SAID = ["kitchen bob Tea?", "4 letters said", "Not authorized"]


def announce(url: str, room: str, text: str) -> None:
    env = {**os.environ, "SNORKY_BACKEND_URL": url, "SNORKY_API_KEY": "swordfish"}
    command = [sys.executable, "-W", "error", str(EXAMPLES / "announce.py"), room, text]
    subprocess.run(command, env=env, check=True, timeout=patient(30))


async def test_the_page_speaks_in_its_room_and_hears_the_web_application(
    serve: Callable[..., Any], run_program: Callable[..., Any], tmp_path: Path
) -> None:
    server = serve(EXAMPLES / "live.py")
    package = tmp_path / "node_modules" / "snorky"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "exports": "./snorky.mjs"}')
    shutil.copy(ROOT / "snorky" / "static" / "snorky.mjs", package)
    (package.parent / "ws").symlink_to(ROOT / "client" / "node_modules" / "ws")
    page = (EXAMPLES / "page.mjs").read_text()
    assert "ws://localhost:5001/ws" in page
    # A browser sends the cookie by itself.
    socket = (
        'import {WebSocket as WS} from "ws";\nclass WebSocket extends WS {\n'
        '  constructor(url) { super(url, {headers: {Cookie: "name=bob"}}); }\n}\n'
    )
    (tmp_path / "page.mjs").write_text(socket + page.replace("ws://localhost:5001/ws", server.url))
    program = run_program(["node", "page.mjs"], cwd=tmp_path)
    await asyncio.to_thread(program.wait_for, "Not authorized")
    await asyncio.to_thread(announce, server.backend_url, "kitchen", "Dinner")
    await asyncio.to_thread(program.wait_for, "Dinner")
    assert program.lines == [*SAID, "kitchen the house Dinner"]


async def test_a_page_with_socketio_is_in_the_same_room(
    serve: Callable[..., Any], run_program: Callable[..., Any], tmp_path: Path
) -> None:
    server = serve(EXAMPLES / "live.py")
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "socketio" / "node_modules")
    text = (EXAMPLES / "socketio_page.mjs").read_text()
    assert "localhost:5001" in text
    page = text.replace("localhost:5001", f"127.0.0.1:{server.port}")
    (tmp_path / "page.mjs").write_text(page)
    headers = {"Cookie": "name=alice"}
    async with websockets.connect(server.url, additional_headers=headers) as socket:
        alice = Page(socket)
        assert await alice.call("rooms", "subscribe", channel="kitchen") is None
        program = run_program(["node", "page.mjs"], cwd=tmp_path)
        await asyncio.to_thread(program.wait_for, "Not authorized")
        assert (await alice.receive())["message"] == {"from": "bob", "text": "Tea?"}
        refused = await alice.call("rooms", "publish", channel="kitchen", message="I am the house")
        assert refused == "Not authorized"
    assert program.lines == SAID


async def test_a_program_of_snorky_0_1_runs(
    run_program: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> None:
    file, ports = on_free_ports(EXAMPLES / "calculator.py")
    program = run_program([sys.executable, "-W", "error", str(file)])
    async with await connect_when_up(f"ws://127.0.0.1:{ports[5001]}/ws") as socket:
        page = Page(socket)
        for command in ("sum", "slow_sum"):
            assert await page.call("calculator", command, number1=1, number2=2) == 3
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines == []
