"""Several workers without an engine: said loudly, since half of what pages ask would fail."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snorky.asgi.workers import _asked_for_workers
from tests.ports import free_port
from tests.servers import Valkey

SITE = """
import os
import uvicorn
from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.services.pubsub import PubSubService
broker = None
if "ENGINE" in os.environ:
    from snorky.brokers.redis import RedisBroker
    broker = RedisBroker(os.environ["ENGINE"])
app = SnorkyASGI(ServiceRegistry([PubSubService("pubsub", broker)]))
if __name__ == "__main__":
    uvicorn.run("several:app", port=int(os.environ["PORT"]), workers=2)
"""
LOUD = 'This is one of several processes, and nothing joins them: services "pubsub" reach'
Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "several.py").write_text(SITE)
    return tmp_path


def run(run_program: Run, folder: Path, *words: str, **env: str) -> Any:
    port = str(free_port())
    if not words:
        return run_program([sys.executable, "several.py"], cwd=folder, PORT=port, **env)
    command = [sys.executable, "-m", "uvicorn", "several:app", "--port", port, *words]
    return run_program(command, cwd=folder, **env)


@pytest.mark.parametrize("words", [("--workers", "2"), ()])
def test_uvicorn_s_workers_with_the_broker_in_memory_are_warned_of(
    run_program: Run, folder: Path, words: tuple[str, ...]
) -> None:
    run(run_program, folder, *words).wait_for(LOUD)


def test_one_worker_or_an_engine_is_fine(run_program: Run, folder: Path, valkey: Valkey) -> None:
    alone = run(run_program, folder, "--workers", "1")
    joined = run(run_program, folder, "--workers", "2", ENGINE=valkey.url)
    alone.wait_for("Application startup complete")
    joined.wait_for("Application startup complete")
    for program in (alone, joined):
        program.stop()
        assert not any(LOUD in line for line in program.lines)


@pytest.mark.parametrize(
    ("argv", "concurrency", "several"),
    [
        ("/usr/bin/uvicorn app:app --workers 4", "", True),
        ("/usr/lib/uvicorn/__main__.py app:app --workers=2", "", True),
        ("/usr/bin/gunicorn -w 3 app:app", "", True),
        ("/usr/bin/hypercorn app:app", "2", True),
        ("/usr/bin/uvicorn app:app --workers 1", "2", False),
        ("/usr/bin/uvicorn app:app", "", False),
        ("/srv/app.py --workers 4", "4", False),
    ],
)
def test_what_a_command_line_says(argv: str, concurrency: str, several: bool) -> None:
    assert _asked_for_workers(argv.split(), concurrency) is several
