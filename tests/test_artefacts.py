"""What is published carries what its users need, and nothing else, and runs the first programs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.patience import patient

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "client"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
NPM = shutil.which("npm") or "npm"
QUICK_START = ROOT / "docs/examples/quickstart/live.py"

PROGRAM = """
import assert from "node:assert";
import { PubSub, Snorky } from "snorky";

globalThis.WebSocket ??= (await import("ws")).WebSocket;
const snorky = new Snorky(WebSocket, process.argv[2], { pubsub: PubSub });
const { pubsub } = snorky.services;
const received = new Promise((resolve) => pubsub.messagePublished.add(resolve));
await pubsub.subscribe({ channel: "news" });
await pubsub.publish({ channel: "news", message: "Hello" });
assert.deepEqual(await received, { type: "message", channel: "news", message: "Hello" });
snorky.disconnect();
"""

TYPED = """
import { PubSub, Snorky, type PublishedMessage } from "snorky";

const snorky = new Snorky(WebSocket, "ws://localhost:5001/ws", { pubsub: PubSub });
const told: Promise<null> = snorky.services.pubsub.publish({ channel: "news", message: 1 });
snorky.services.pubsub.messagePublished.add(({ channel }: PublishedMessage) => channel);
export { told };
"""


def run(*command: Any, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=patient(300),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is published: the source package, the wheel from it, npm's.

    Beside it is ``venv``, an environment with the wheel alone. Built from a copy, since building
    writes into the folder; once, also where several workers run.
    """
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if parallel else folder) / "packages"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        out = folder / "dist"
        if not out.exists():
            copy = folder / "copy"
            leave = (".*", "node_modules", "build", "dist", "tests", "*.so", "__pycache__")
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*leave))
            (copy / "client/node_modules").symlink_to(CLIENT / "node_modules")
            run(sys.executable, "-m", "build", "--outdir", folder / "made", copy)
            run(NPM, "pack", "--pack-destination", folder / "made", cwd=copy / "client")
            run(sys.executable, "-m", "venv", folder / "venv")
            wheel = next((folder / "made").glob("snorky-*.whl"))
            run(folder / "venv" / SCRIPTS / "python", "-m", "pip", "install", "-q", wheel)
            (folder / "made").rename(out)
    return out


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    return next(packages.glob("snorky-*.whl"))


@pytest.fixture(scope="module")
def npm_package(packages: Path) -> Path:
    return next(packages.glob("snorky-*.tgz"))


@pytest.fixture
def serve_quick_start(
    packages: Path, tmp_path: Path, run_program: Callable[..., Any]
) -> Callable[[], Any]:
    """``serve_quick_start()`` -> its server, from an environment with the wheel alone."""

    def serve() -> Any:
        (tmp_path / "live.py").write_text(QUICK_START.read_text())
        command = [str(packages.parent / "venv" / SCRIPTS / "snorky"), "serve", "live.py"]
        return run_program([*command, "--port", "0", "--backend-port", "0"], cwd=tmp_path)

    return serve


def test_the_wheel_carries_the_client_the_extension_the_types_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    static = {f"snorky/static/{path.name}" for path in (ROOT / "snorky/static").iterdir()}
    assert static
    assert static | {"snorky/py.typed", "snorky/cli/demo/page/index.html"} <= names
    assert "snorky/_fanout.abi3.so" in names
    assert "-cp311-abi3-" in wheel.name, "one wheel for every Python from 3.11 on"
    assert any(name.endswith("LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"snorky"}


def test_the_page_on_pypi_has_no_link_that_leads_nowhere(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        name = next(name for name in opened.namelist() if name.endswith("/METADATA"))
        metadata = opened.read(name).decode()
    fields, _, page = metadata.partition("\n\n")
    assert "Project-URL: Documentation, https://" in fields
    targets = re.findall(r"\]\(([^)]*)\)", page)
    assert len(targets) > 20
    assert [target for target in targets if not target.startswith("https://")] == []
    images = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", page)
    assert images
    assert all("/raw/" in image for image in images)


def test_the_source_package_carries_the_package_and_its_licence_alone(packages: Path) -> None:
    with tarfile.open(next(packages.glob("snorky-*.tar.gz"))) as source:
        names = {name.partition("/")[2] for name in source.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "setup.py", "snorky/_fanout.c", "snorky/_fanout.pyi"} <= names
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {"snorky", "snorky.egg-info"}


async def test_the_first_program_runs_with_pip_install_alone(
    serve_quick_start: Callable[[], Any],
) -> None:
    server = serve_quick_start()
    port = server.wait_for(r"ws://127\.0\.0\.1:(\d+)/ws")[1]
    assert httpx2.get(f"http://127.0.0.1:{port}/static/snorky.min.js").status_code == 200
    call = {"command": "subscribe", "params": {"channel": "news"}, "callId": 0}
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws") as page:
        await page.send(json.dumps({"service": "pubsub", "message": call}))
        assert json.loads(await page.recv())["message"]["data"] is None
    assert server.stop() == 0


def test_the_npm_package_carries_the_builds_the_types_and_the_licence(npm_package: Path) -> None:
    with tarfile.open(npm_package) as package:
        names = {name.removeprefix("package/") for name in package.getnames()}
    builds = {f"dist/{path.name}" for path in (ROOT / "snorky/static").iterdir()}
    modules = {"dist/es/index.js", "dist/es/index.d.ts"}
    expected = builds | modules | {"package.json", "README.md", "LICENSE"}
    assert expected <= names
    assert all(name in expected or name.startswith("dist/es/") for name in names)


def test_the_npm_package_runs_and_has_its_types(
    npm_package: Path, serve_quick_start: Callable[[], Any], tmp_path: Path
) -> None:
    server = serve_quick_start()
    address = server.wait_for(r"(ws://127\.0\.0\.1:\d+/ws)")[1]
    project = tmp_path / "project"
    project.mkdir()
    (project / "package.json").write_text('{"private": true, "type": "module"}')
    run(NPM, "install", "--no-audit", "--no-fund", npm_package, "ws", cwd=project)
    (project / "program.mjs").write_text(PROGRAM)
    run("node", "program.mjs", address, cwd=project)
    (project / "typed.ts").write_text(TYPED)
    options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"]
    run("node", CLIENT / "node_modules/typescript/bin/tsc", *options, "typed.ts", cwd=project)
    assert server.stop() == 0
