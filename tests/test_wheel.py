"""The wheel carries what a Python user needs, and runs the first program with pip alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("snorky-*.whl"))


def test_the_wheel_carries_the_client_the_extension_the_types_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    static = {f"snorky/static/{path.name}" for path in (ROOT / "snorky/static").iterdir()}
    assert static
    assert static | {"snorky/py.typed"} <= names
    assert "snorky/_fanout.abi3.so" in names
    assert "-cp311-abi3-" in wheel.name, "one wheel for every Python from 3.11 on"
    assert any(name.endswith("LICENSE") for name in names)
    assert not any(name.startswith(("tests", "benchmarks", "demos", "client")) for name in names)


async def test_the_first_program_runs_with_pip_install_alone(
    wheel: Path, tmp_path: Path, run_program: Callable[..., Any]
) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    install = [scripts / "python", "-m", "pip", "install", "-q", str(wheel)]
    subprocess.run(install, check=True, timeout=300, capture_output=True)
    example = ROOT / "docs/examples/quickstart/live.py"
    (tmp_path / "live.py").write_text(example.read_text())
    server = run_program(
        [str(scripts / "snorky"), "serve", "live.py", "--port", "0", "--backend-port", "0"],
        cwd=tmp_path,
    )
    port = server.wait_for(r"ws://127\.0\.0\.1:(\d+)/ws")[1]
    assert httpx2.get(f"http://127.0.0.1:{port}/static/snorky.min.js").status_code == 200
    call = {"command": "subscribe", "params": {"channel": "news"}, "callId": 0}
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws") as page:
        await page.send(json.dumps({"service": "pubsub", "message": call}))
        assert json.loads(await page.recv())["message"]["data"] is None
    assert server.stop() == 0
