"""Pages in a process of their own, each with a real client of the edge under test.

Knows the lines that ``driver.mjs`` reads and writes, and how to wait. Which client it is, and what
it connects to, is the edge's business.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from tests.patience import patient

DEADLINE = patient(20.0)
FOLDER = Path(__file__).parent.parent


class CallFailed(Exception):
    """A call was answered by an error; its text is the server's, or the client's own."""


class Page:
    """One client. ``received`` is what came, in its order: (service, message)."""

    def __init__(self, browser: Browser, name: str) -> None:
        self.received: list[tuple[str, Any]] = []
        self.opened = False
        self.ended: tuple[int | None, str] | None = None
        """Code and reason, as its client was told; None while it is connected."""
        self._browser = browser
        self._name = name
        self._news = asyncio.Event()

    async def call(self, service: str, command: str, **params: Any) -> Any:
        return await self._browser.do("request", self._name, service, command, params)

    async def say(self, service: str, message: Any) -> None:
        """Send a message to a service, whatever it may be."""
        await self._browser.do("say", self._name, service, message)

    async def send_text(self, text: str) -> None:
        """Send what may be no message at all."""
        await self._browser.do("text", self._name, text)

    async def leave(self) -> None:
        await self._browser.do("leave", self._name)

    def heard(self, service: str) -> list[Any]:
        """What the service has sent by itself, answers to calls aside."""
        messages = [message for name, message in self.received if name == service]
        return [message for message in messages if not is_answer(message)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that comes of what the page is told."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def hears(self, number: int, service: str) -> list[Any]:
        """Wait until a service has sent so many messages by itself."""
        await self.until(lambda: len(self.heard(service)) >= number)
        return self.heard(service)

    async def end(self) -> tuple[int | None, str]:
        await self.until(lambda: self.ended)
        assert self.ended is not None
        return self.ended

    def happened(self, event: str, args: list[Any]) -> None:
        if event == "opened":
            self.opened = True
        elif event == "received":
            self.received.append((args[0], args[1]))
        else:
            self.ended = args[0], args[1]
        self._news.set()


def is_answer(message: Any) -> bool:
    return isinstance(message, dict) and message.get("type") in ("response", "error")


class Browser:
    """One process with any number of pages."""

    def __init__(self, program: Path, process: asyncio.subprocess.Process) -> None:
        self._program = program
        self._process = process
        self._pages: dict[str, Page] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, program: Path, **env: str) -> Browser:
        interpreter = sys.executable if program.suffix == ".py" else shutil.which("node")
        assert interpreter is not None, "the clients of the edges need Node on PATH"
        modules = [FOLDER / name / "node_modules" for name in ("sockjs_client", "socketio")]
        assert all(path.is_dir() for path in modules), (
            f"install the clients: npm ci beside {modules}"
        )
        process = await asyncio.create_subprocess_exec(
            interpreter,
            str(program),
            env={**os.environ, "PYTHONPATH": str(FOLDER.parent), "PYTHONWARNINGS": "error", **env},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,
        )
        return cls(program, process)

    async def visit(self, url: str, options: dict[str, Any]) -> Page:
        """A page that begins to connect."""
        name = f"page {next(self._numbers)}"
        page = self._pages[name] = Page(self, name)
        await self.do("visit", name, url, options)
        return page

    async def do(self, action: str, *args: Any) -> Any:
        """What the action returns there. Raises CallFailed where it fails."""
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "action": action, "args": args})
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(DEADLINE):
            return await answer

    def forget_pages(self) -> None:
        """What they still tell concerns nobody."""
        self._pages.clear()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "event" in said:
                page = self._pages.get(said["socket"])
                if page is not None:
                    page.happened(said["event"], said["args"])
                continue
            answer = self._answers.pop(said["id"])
            if answer.done():
                continue  # nobody waits for it any more
            if "error" in said:
                answer.set_exception(CallFailed(said["error"]))
            else:
                answer.set_result(said["result"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(CallFailed(f"{self._program} has ended"))
                answer.exception()  # it may be that nobody waits

    async def kill(self) -> None:
        """The pages are gone without a word."""
        self._process.kill()
        await self._ended()

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._ended()

    async def _ended(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self._process.wait()
            await self._reading
        self._process._transport.close()  # type: ignore[attr-defined]  # closes its pipes
