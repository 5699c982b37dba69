"""The programs of the how-tos that need no page; those with one are in tests/browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.patience import patient

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
KEY = {"SNORKY_API_KEY": "swordfish"}
SECONDS = patient(30)


def run(command: list[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_tests_of_the_typing_service() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    done = run([*command, "test_typing.py"], EXAMPLES / "typing")
    assert "3 passed" in done.stdout, done.stdout + done.stderr


async def heard(socket: websockets.ClientConnection) -> Any:
    async with asyncio.timeout(SECONDS):
        return json.loads(await socket.recv())["message"]


async def subscribe(url: str, channel: str) -> websockets.ClientConnection:
    socket = await websockets.connect(url)
    call = {"command": "subscribe", "params": {"channel": channel}, "callId": 1}
    await socket.send(json.dumps({"service": "jobs", "message": call}))
    assert (await heard(socket))["type"] == "response"
    return socket


async def test_a_worker_of_celery_tells_how_far_it_is(
    serve: Callable[..., Any], run_program: Callable[..., Any], tmp_path: Path
) -> None:
    snorky = serve(EXAMPLES / "celery" / "live.py")
    # A broker of files: the same worker, without a server beside it.
    queue = tmp_path / "queue"
    queue.mkdir()
    (tmp_path / "celeryconfig.py").write_text(
        f"broker_transport_options = {{'data_folder_in': {str(queue)!r}, "
        f"'data_folder_out': {str(queue)!r}, 'control_folder': {str(tmp_path / 'control')!r}}}\n"
    )
    env = {
        **KEY,
        "BROKER_URL": "filesystem://",
        "SNORKY_BACKEND_URL": snorky.backend_url,
        "PYTHONPATH": f"{tmp_path}:{EXAMPLES / 'celery'}",
    }
    celery = [sys.executable, "-m", "celery", "-A", "tasks", "--config", "celeryconfig"]
    socket = await subscribe(snorky.url, "job 7")
    worker = run_program([*celery, "worker", "-c", "1", "-l", "warning"], cwd=tmp_path, **env)
    call = [*celery, "call", "tasks.report", "--args", '["job 7"]']
    done = await asyncio.to_thread(run, call, tmp_path, **env)
    assert done.returncode == 0, done.stderr
    told = [(await heard(socket))["message"]["percent"] for _ in range(3)]
    assert told == [0, 50, 100], worker.lines
    await socket.close()


async def test_the_line_of_the_crontab_publishes(serve: Callable[..., Any], tmp_path: Path) -> None:
    snorky = serve(EXAMPLES / "celery" / "live.py")
    (tmp_path / "snorky.env").write_text(
        f"SNORKY_API_KEY=swordfish\nSNORKY_BACKEND_URL={snorky.backend_url}\n"
    )
    line = (EXAMPLES / "celery" / "crontab").read_text().splitlines()[-1]
    command = line.split(None, 5)[5].replace("/etc/snorky.env", str(tmp_path / "snorky.env"))
    socket = await subscribe(snorky.url, "load")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = await asyncio.to_thread(run, ["/bin/sh", "-c", command], tmp_path, PATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "load average" in (await heard(socket))["message"]
    await socket.close()


def test_the_page_on_costs_has_the_queries_of_today(serve: Callable[..., Any]) -> None:
    snorky = serve(EXAMPLES / "cost" / "live.py")
    done = run(
        [sys.executable, "-W", "error", "cost.py"],
        EXAMPLES / "cost",
        SNORKY_BACKEND_URL=snorky.backend_url,
        **KEY,
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (ROOT / "docs" / "howto" / "cost-of-subscribable.md").read_text()
    counts = re.findall(r".* queries\n", done.stdout)
    assert len(counts) == 3
    assert "".join(counts) in page


FAULTS = {
    "await auction.bid({ lot: 1 });": "Property 'amount' is missing",
    "auction.bids();": "Property 'bids' does not exist",
    "lots.items[0].hihgest;": "Property 'hihgest' does not exist",
}


@pytest.mark.parametrize("lines", [[], list(FAULTS)], ids=["as-it-is", "with-faults"])
def test_types_of_services_are_checked(tmp_path: Path, lines: list[str]) -> None:
    for file in ("auction.ts", "tsconfig.json"):
        (tmp_path / file).write_text((EXAMPLES / "typescript" / file).read_text())
    with (tmp_path / "auction.ts").open("a") as program:
        program.write("\n".join(lines))
    client = ROOT / "client"
    options = json.loads((tmp_path / "tsconfig.json").read_text())
    options["compilerOptions"] |= {"types": [], "paths": {"snorky": [f"{client}/src/index.ts"]}}
    (tmp_path / "tsconfig.json").write_text(json.dumps(options))
    compiler = client / "node_modules" / "typescript" / "bin" / "tsc"
    done = run(["node", str(compiler), "--project", str(tmp_path)], tmp_path)
    assert len(re.findall(r"error TS", done.stdout)) == len(lines), done.stdout
    for line in lines:
        assert FAULTS[line] in done.stdout
