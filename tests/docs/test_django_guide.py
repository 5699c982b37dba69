"""The Django project of the manual, run as its page says: two programs and a subscriber."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.patience import patient

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "examples" / "django"
ENV = {"SNORKY_API_KEY": "swordfish"}
DJANGO_AT = r"server at http://127\.0\.0\.1:(\d+)/"
SECONDS = patient(10)


@pytest.fixture
def project(tmp_path: Path, run_program: Callable[..., Any]) -> Callable[..., Any]:
    """``project(snorky)`` -> a copy of the project that uses this server; it has a database."""

    def copy(snorky: Any) -> Path:
        folder = tmp_path / "project"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("tasks/settings.py", "tasks/templates/tasks.html"):
            text = (folder / file).read_text().replace("5001", str(snorky.port))
            (folder / file).write_text(text.replace("5002", str(snorky.backend_port)))
        for command in (["makemigrations", "tasks"], ["migrate"]):
            assert run_program(manage(*command), cwd=folder, **ENV).end() == 0
        return folder

    return copy


def manage(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", *arguments]


def run_django(run_program: Callable[..., Any], folder: Path) -> tuple[Any, str]:
    django = run_program(manage("runserver", "--noreload", "127.0.0.1:0"), cwd=folder, **ENV)
    return django, f"http://127.0.0.1:{django.wait_for(DJANGO_AT)[1]}"


def subscribe(address: str) -> httpx2.Response:
    return httpx2.get(f"{address}/api/tasks/", headers={"X-Snorky": "Subscribe"})


async def deltas(socket: websockets.ClientConnection, count: int) -> list[Any]:
    async with asyncio.timeout(SECONDS):
        messages = [json.loads(await socket.recv())["message"] for _ in range(count)]
    assert {message["type"] for message in messages} == {"delta"}
    return [message["delta"] for message in messages]


async def acquire(socket: websockets.ClientConnection, token: str) -> Any:
    call = {"command": "acquireSubscription", "params": {"token": token}, "callId": 1}
    await socket.send(json.dumps({"service": "datasync", "message": call}))
    async with asyncio.timeout(SECONDS):
        return json.loads(await socket.recv())["message"]


async def test_a_subscriber_hears_of_what_the_api_and_the_shell_change(
    serve: Callable[..., Any], project: Callable[..., Path], run_program: Callable[..., Any]
) -> None:
    snorky = serve(EXAMPLE / "live.py")
    folder = project(snorky)
    _, address = run_django(run_program, folder)
    response = subscribe(address)
    assert response.json() == []
    token = response.headers["X-Subscription-Token"]

    async with websockets.connect(snorky.url) as socket:
        assert await acquire(socket, token) == {"type": "response", "callId": 1, "data": None}

        api = f"{address}/api/tasks/"
        created = httpx2.post(api, json={"title": "Write"})
        assert created.status_code == 201
        row = {"id": created.json()["id"], "title": "Write", "done": False}
        assert await deltas(socket, 1) == [{"type": "insert", "model": "Task", "data": row}]

        httpx2.patch(f"{api}{row['id']}/", json={"done": True}).raise_for_status()
        done = {**row, "done": True}
        update = {"type": "update", "model": "Task", "newData": done, "oldData": row}
        assert await deltas(socket, 1) == [update]

        # What update() changes is not seen: the deletion is what comes next.
        code = "objects = Task.objects; objects.update(title='X'); objects.all().delete()"
        command = manage("shell", "-c", f"from tasks.models import Task; {code}")
        shell = run_program(command, cwd=folder, **ENV)
        assert await asyncio.to_thread(shell.end) == 0
        gone = {**done, "title": "X"}
        assert await deltas(socket, 1) == [{"type": "delete", "model": "Task", "data": gone}]


async def test_without_snorky_the_project_works_on_and_says_what_was_lost(
    serve: Callable[..., Any], project: Callable[..., Path], run_program: Callable[..., Any]
) -> None:
    snorky = serve(EXAMPLE / "live.py")
    folder = project(snorky)
    django, address = run_django(run_program, folder)
    assert await asyncio.to_thread(snorky.stop) == 0

    assert httpx2.post(f"{address}/api/tasks/", json={"title": "Write"}).status_code == 201
    django.wait_for("1 deltas not published")
    response = subscribe(address)
    assert [task["title"] for task in response.json()] == ["Write"]
    assert "X-Subscription-Token" not in response.headers
    django.wait_for("TaskViewSet answers without subscription")


def test_without_a_key_no_command_runs() -> None:
    done = subprocess.run(
        manage("check"), cwd=EXAMPLE, env={}, capture_output=True, text=True, timeout=patient(60)
    )
    assert done.returncode != 0
    assert "SNORKY_API_KEY" in done.stderr
