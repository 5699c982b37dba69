"""``snorky relay`` and a relay inside ``snorky serve``, as processes."""

from __future__ import annotations

import re
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from snorky.backend.outbox import sqlite_triggers
from snorky.cli import main
from tests.conftest import Program
from tests.patience import patient
from tests.ports import free_port

LIVE = """
from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer
class Tasks(FilterDealer):
    model = "Task"
datasync = DataSyncService("datasync", [Tasks], relay=True, lease=1)
frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "app.sqlite", isolation_level=None)
    connection.execute("CREATE TABLE task (id integer PRIMARY KEY, title text)")
    sqlite_triggers.install(connection, ["task"])
    yield connection
    connection.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'app.sqlite'}"


StartRelay = Callable[..., Program]


@pytest.fixture
def relay(address: str, tmp_path: Path) -> Iterator[StartRelay]:
    """``relay(backend_url, *options)`` runs one in a process."""
    running: list[Program] = []

    def start(url: str, *options: str) -> Program:
        command = [sys.executable, "-m", "snorky", "relay", address, "--backend-url", url]
        env = {"SNORKY_API_KEY": "swordfish"}
        program = Program([*command, "--lease", "1", *options], env, cwd=tmp_path)
        running.append(program)
        return program

    yield start
    for program in running:
        program.stop(signal.SIGKILL)


def call(url: str, command: str, **params: Any) -> Any:
    message = {"command": command, "params": params}
    response = httpx2.post(
        url,
        json={"service": "datasync_backend", "message": message},
        headers={"X-Backend-Key": "swordfish"},
    )
    return response.json()["message"]["data"]


def entries(url: str) -> int:
    """The number of the newest entry of the log."""
    return int(call(url, "head").split(".")[1])


def wait_for_entries(url: str, more_than: int) -> None:
    ends = time.monotonic() + patient(10)
    while entries(url) <= more_than:
        assert time.monotonic() < ends, "nothing was told"
        time.sleep(0.01)


def test_it_says_that_it_is_ready_and_stops_when_told(
    app: Any, serve: Any, relay: StartRelay, database: sqlite3.Connection
) -> None:
    database.execute("INSERT INTO task VALUES (1, 'a')")
    url = serve(app(LIVE)).backend_url
    process = relay(url, "--table", "task=Task")
    process.wait_for("^Relay ready$")
    before = entries(url)
    assert before >= 1
    database.execute("INSERT INTO task VALUES (2, 'b')")
    wait_for_entries(url, before)
    assert process.stop() == 0


def test_it_waits_for_snorky_and_tells_monitors(
    app: Any, serve: Any, relay: StartRelay, database: sqlite3.Connection
) -> None:
    port, backend_port = free_port(), free_port()
    process = relay(f"http://127.0.0.1:{backend_port}/backend", "--metrics-port", str(port))
    process.wait_for("tries again: No answer from Snorky")
    monitor = f"http://127.0.0.1:{port}"
    assert httpx2.get(f"{monitor}/live").status_code == 200
    assert httpx2.get(f"{monitor}/ready").status_code == 503
    serve(app(LIVE), "--port", "0", "--backend-port", str(backend_port))
    process.wait_for("^Relay ready$")
    assert httpx2.get(f"{monitor}/ready").status_code == 200
    assert 'snorky_relay_ready{source="main"} 1.0' in httpx2.get(f"{monitor}/metrics").text
    assert httpx2.get(f"{monitor}/other").status_code == 404


def test_functions_for_rows_are_named_on_the_line(
    app: Any, serve: Any, relay: StartRelay, database: sqlite3.Connection, tmp_path: Path
) -> None:
    (tmp_path / "shown.py").write_text(
        "def task(row):\n"
        "    open('seen', 'w').write(repr(row))\n"
        "    return 'Task', {'id': row['id']}\n"
        "rows = {'task': task}\n"
    )
    database.execute("INSERT INTO task VALUES (1, 'a')")
    process = relay(serve(app(LIVE)).backend_url, "--represent", "shown:rows")
    process.wait_for("^Relay ready$")
    assert (tmp_path / "seen").read_text() == repr({"id": 1, "title": "a"})


@pytest.mark.parametrize(
    "relayed", ["relay = {address!r}", "relay = [Relay({address!r}, tables={{'task': 'Task'}})]"]
)
def test_snorky_serve_runs_the_relay_that_a_file_names(
    app: Any, serve: Any, database: sqlite3.Connection, address: str, relayed: str
) -> None:
    text = "from snorky.backend.outbox import Relay\n" + relayed.format(address=address)
    server = serve(app(f"{LIVE}\n{text}\n"))
    wait_for_entries(server.backend_url, -1)
    database.execute("INSERT INTO task VALUES (1, 'a')")
    wait_for_entries(server.backend_url, 0)
    metrics = httpx2.get(server.backend_url.replace("/backend", "/metrics")).text
    assert re.search(r'snorky_relay_passes_total\{source="main"\} [1-9]', metrics)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("relay = 7", "must be a Relay of snorky.backend.outbox"),
        ("relay = 'mysql://x'", "sqlite:////absolute/path"),
        ("relay = 'sqlite:////x'\nbackend = None", "but no back end"),
    ],
)
def test_a_relay_that_is_none_is_refused(app: Any, text: str, said: str) -> None:
    found = CliRunner().invoke(
        main, ["serve", str(app(f"{LIVE}\n{text}\n"))], env={"SNORKY_API_KEY": "swordfish"}
    )
    assert found.exit_code == 1
    assert said in found.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mysql://x"], "Expected a database's address"),
        (["sqlite:////x", "--table", "task"], "Expected TABLE=MODEL"),
        (["sqlite:////x", "--represent", "none:rows"], "MODULE:NAME of a dictionary"),
        (["sqlite:////x", "--backend-url", "here"], "must be like http://"),
    ],
)
def test_what_cannot_be_understood_is_said(words: list[str], said: str) -> None:
    found = CliRunner().invoke(main, ["relay", *words], env={"SNORKY_API_KEY": "swordfish"})
    assert found.exit_code == 2
    assert said in found.output


def test_the_key_is_needed() -> None:
    found = CliRunner().invoke(main, ["relay", "sqlite:////x"], env={"SNORKY_API_KEY": ""})
    assert found.exit_code == 2
    assert "SNORKY_API_KEY" in found.output
