"""The programs of the pages on Socket.IO, with the real client in Node."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.browser.conftest import listens, wait_for

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples" / "socketio"
MODULES = ROOT / "tests" / "socketio" / "node_modules"


class Examples:
    """Runs programs of the manual, on a port of their own."""

    def __init__(self, run_program: Any, on_free_ports: Any, folder: Path) -> None:
        self._run = run_program
        self._on_free_ports = on_free_ports
        self._folder = folder
        assert MODULES.is_dir(), f"expected `npm ci` in {MODULES.parent}"
        (folder / "node_modules").symlink_to(MODULES)

    async def serve(self, name: str) -> Any:
        file, ports = self._on_free_ports(EXAMPLES / name)
        self.port = ports[5001]
        program = self._run([sys.executable, "-W", "error", str(file)])
        await asyncio.to_thread(wait_for, lambda: listens(self.port), f"{name} listens")
        return program

    def page(self, name: str, **replaced: str) -> Any:
        text = (EXAMPLES / name).read_text().replace("5001", str(self.port))
        for old, new in replaced.items():
            text = text.replace(old, new)
        file = self._folder / name
        file.write_text(text)
        node = shutil.which("node")
        assert node is not None, "expected Node"
        return self._run([node, str(file)])


@pytest.fixture
def examples(
    run_program: Callable[..., Any], on_free_ports: Callable[..., Any], tmp_path: Path
) -> Examples:
    return Examples(run_program, on_free_ports, tmp_path)


async def test_the_page_reaches_the_services(examples: Examples) -> None:
    program = await examples.serve("live.py")
    page = examples.page("page.mjs")
    await asyncio.to_thread(page.wait_for, "news Hello")
    assert page.lines == ["3", "Nothing can be divided by 0", "news Hello"]
    await asyncio.to_thread(page.stop)
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines == ["Bye"]


async def test_members_only(examples: Examples) -> None:
    await examples.serve("members.py")
    url = f"ws://127.0.0.1:{examples.port}/socket.io/?EIO=4&transport=websocket"

    async def connect(**options: Any) -> websockets.ClientConnection:
        socket = await websockets.connect(url, **options)
        assert str(await socket.recv()).startswith("0")
        return socket

    origin = websockets.Origin("https://www.example.com")
    async with await connect(origin=origin) as socket:
        await socket.send("40")
        packet = str(await socket.recv())
        assert packet.startswith("44")
        assert json.loads(packet[2:]) == {"message": "Please log in", "data": {"status": 401}}
        await socket.send('40{"token":"a-token-of-bob"}')
        assert str(await socket.recv()).startswith("40")
        call = {"command": "publish", "params": {"channel": "news", "message": 1}}
        await socket.send("420" + json.dumps(["pubsub", call]))
        answer = {"type": "error", "message": "Not authorized"}
        assert json.loads(str(await socket.recv())[3:]) == [answer]
    with pytest.raises(websockets.InvalidStatus):
        await connect(origin=websockets.Origin("https://evil.example"))


async def test_the_tea_room(examples: Examples) -> None:
    program = await examples.serve("tea_room.py")
    page = examples.page("tea_room.mjs")
    await asyncio.to_thread(page.wait_for, "Some tea")
    # It begins with polling; whether it has moved to WebSocket by then is open.
    assert page.lines == ["{ guests: 1, by: 'xhr-polling' }", "{ text: 'Some tea?' }"]
    second = examples.page("tea_room.mjs")
    await asyncio.to_thread(second.wait_for, "guests: 2")
    await asyncio.to_thread(wait_for, lambda: len(page.lines) == 3, "everybody in the room hears")
    kitchen = examples.page("tea_room.mjs", parlour="kitchen")
    await asyncio.to_thread(kitchen.wait_for, "^Refused$")
    for opened in (page, second, kitchen):
        await asyncio.to_thread(opened.stop)
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
