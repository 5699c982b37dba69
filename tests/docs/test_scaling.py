"""The chapter on several processes: its program with workers, its suite, its unit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.test_serve_brokers import page_of, publish
from tests.patience import patient
from tests.servers import Valkey

FILES = Path(__file__).parent.parent.parent / "docs" / "examples" / "scaling"


async def test_the_program_is_served_by_workers_that_are_one(
    serve: Callable[..., Any], valkey: Valkey
) -> None:
    server = serve(FILES / "live.py", "--workers", "2", BROKER_URL=valkey.url)
    server.wait_for("with 2 workers")
    async with page_of(server) as page:
        assert await page.call("pubsub", "subscribe", channel="news") is None
        for number in range(4):
            assert (await publish(server, number))["type"] == "response"
        assert [(await page.told())["message"] for _ in range(4)] == [0, 1, 2, 3]
    assert await asyncio.to_thread(server.stop) == 0


def test_the_suite_is_run_as_the_page_says(tmp_path: Path) -> None:
    file = tmp_path / "test_my_broker.py"
    file.write_text((FILES / "test_my_broker.py").read_text())
    words = ["-q", "-o", "asyncio_mode=auto", "-p", "no:valkey", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=patient(100),
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
