"""The programs of the chapter on the back end: every language of it that is installed."""

from __future__ import annotations

import asyncio
import json
import os
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

from tests.browser.conftest import listens, wait_for
from tests.patience import patient
from tests.ports import free_port

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples" / "back_end"
PYTHON = [sys.executable, "-W", "error"]
# Where a language is not installed its program is not run: the page says which.
PROGRAMS = {"sh": ["sh"], "mjs": ["node"], "php": ["php"], "rb": ["ruby"]}
INSTALLED = [name for name, command in PROGRAMS.items() if shutil.which(command[0])]


async def listen_at(url: str) -> websockets.ClientConnection:
    """A page that listens at the doorbell."""
    page = await websockets.connect(url)
    call = {"command": "listen", "params": {}, "callId": 1}
    await page.send(json.dumps({"service": "doorbell", "message": call}))
    assert (await received(page))["type"] == "response"
    return page


async def received(page: websockets.ClientConnection) -> Any:
    async with asyncio.timeout(patient(20)):
        return json.loads(await page.recv())["message"]


async def run(command: list[str], key: str = "swordfish", url: str = "") -> str:
    env = {**os.environ, "SNORKY_API_KEY": key, "SNORKY_BACKEND_URL": url}
    done = await asyncio.to_thread(
        subprocess.run, command, env=env, capture_output=True, text=True, timeout=patient(60)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_the_connector_rings_and_says_what_went_wrong(serve: Callable[..., Any]) -> None:
    snorky = serve(EXAMPLES / "live.py")
    ring = [*PYTHON, str(EXAMPLES / "ring.py"), "Ada"]
    assert await run(ring, url=snorky.backend_url) == "Refused: Nobody is at home"
    async with await listen_at(snorky.url) as page:
        assert await run(ring, url=snorky.backend_url) == "1 heard it"
        assert await received(page) == {"type": "visitor", "name": "Ada"}
    wrong = await run(ring, key="sardine", url=snorky.backend_url)
    assert wrong == "Not done: Error from Snorky server: 401 Unauthorized"
    gone = snorky.backend_url
    assert await asyncio.to_thread(snorky.stop) == 0
    assert (await run(ring, url=gone)).startswith(f"Perhaps: No answer from Snorky at {gone}: ")


async def test_the_connector_for_asyncio(serve: Callable[..., Any]) -> None:
    snorky = serve(EXAMPLES / "live.py")
    async with await listen_at(snorky.url) as page:
        command = [*PYTHON, str(EXAMPLES / "ring_aio.py"), "Ada", "Bob"]
        printed = await run(command, url=snorky.backend_url)
        assert printed.splitlines() == ["Ada: 1 heard it", "Bob: 1 heard it"]
        assert [(await received(page))["name"] for _ in range(2)] == ["Ada", "Bob"]


@pytest.mark.parametrize("language", INSTALLED)
async def test_other_languages(language: str, serve: Callable[..., Any], tmp_path: Path) -> None:
    snorky = serve(EXAMPLES / "live.py")
    program = (EXAMPLES / f"ring.{language}").read_text()
    file = tmp_path / f"ring.{language}"
    file.write_text(program.replace("5002", str(snorky.backend_port)))
    async with await listen_at(snorky.url) as page:
        printed = await run([*PROGRAMS[language], str(file)])
        if language == "sh":
            answer = json.loads(printed)
            assert answer["message"] == {"type": "response", "data": 1}
        else:
            assert printed == "1"
        assert await received(page) == {"type": "visitor", "name": "Ada"}


async def test_the_shell_s_recipe_fails_where_the_service_refuses(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    snorky = serve(EXAMPLES / "live.py")
    file = tmp_path / "ring.sh"
    file.write_text((EXAMPLES / "ring.sh").read_text().replace("5002", str(snorky.backend_port)))
    env = {**os.environ, "SNORKY_API_KEY": "swordfish"}
    done = subprocess.run(["sh", str(file)], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Nobody is at home" in done.stdout


def test_curl_and_javascript_are_among_them() -> None:
    assert {"sh", "mjs"} <= set(INSTALLED)


async def test_pages_cannot_ring(serve: Callable[..., Any]) -> None:
    snorky = serve(EXAMPLES / "live.py")
    async with await listen_at(snorky.url) as page:
        for service in ("doorbell", "doorbell_backend"):
            call = {"command": "ring", "params": {"visitor": "Eve"}, "callId": 2}
            await page.send(json.dumps({"service": service, "message": call}))
        error = {"type": "error", "callId": 2, "message": "Unknown command"}
        assert await received(page) == error
        await asyncio.to_thread(snorky.wait_for, 'non existing service "doorbell_backend"')


async def test_several_keys_open_at_once(serve: Callable[..., Any]) -> None:
    snorky = serve(EXAMPLES / "live.py", SNORKY_API_KEY="new,old")
    ring = [*PYTHON, str(EXAMPLES / "ring.py"), "Ada"]
    for key in ("new", "old"):
        assert await run(ring, key=key, url=snorky.backend_url) == "Refused: Nobody is at home"
    wrong = await run(ring, key="new,old", url=snorky.backend_url)
    assert wrong == "Not done: Error from Snorky server: 401 Unauthorized"


async def test_every_server_has_a_key_of_its_own(
    run_program: Callable[..., Any], tmp_path: Path
) -> None:
    public, private = free_port(), free_port()
    text = (EXAMPLES / "named_keys.py").read_text()
    file = tmp_path / "named_keys.py"
    file.write_text(text.replace("5001", str(public)).replace("5002", str(private)))
    shutil.copy(EXAMPLES / "live.py", tmp_path)
    keys = {"SHOP_KEY": "tuna", "WORKER_KEY": "cod"}
    program = run_program([*PYTHON, str(file)], cwd=tmp_path, **keys)
    await asyncio.to_thread(wait_for, lambda: listens(private), "the back end listens")

    async with await listen_at(f"ws://127.0.0.1:{public}/ws") as page:
        command = {"command": "ring", "params": {"visitor": "Ada"}}
        body = {"service": "doorbell_backend", "message": command}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{private}") as http:
            for name, key in (("shop", "tuna"), ("worker", "cod")):
                answer = await http.post("/backend", json=body, headers={"X-Backend-Key": key})
                assert answer.json()["message"] == {"type": "response", "data": 1}
                assert await received(page) == {"type": "visitor", "name": "Ada"}
                await asyncio.to_thread(program.wait_for, f"{name} calls")
            refused = await http.post("/backend", json=body, headers={"X-Backend-Key": "eel"})
        assert (refused.status_code, refused.json()) == (401, {"error": "Invalid API key"})
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines[-1] == "Bye"
