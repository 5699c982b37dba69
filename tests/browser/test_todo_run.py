"""``demos/todo/run.py``, which is ``make demo``: starts everything, says where, stops it all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.patience import patient

TODO = Path(__file__).resolve().parents[2] / "demos" / "todo"
ANY_PORTS = ["--port", "0", "--snorky-port", "0", "--backend-port", "0"]
ADDRESS = r"Open (http://127\.0\.0\.1:(\d+)/) in two windows"
SNORKY_ANSWERS = r"snorky \| answers; .*kill (\d+)"

Start = Callable[..., Any]


@pytest.fixture
def start(run_program: Callable[..., Any], tmp_path: Path) -> Start:
    """``start(*options)`` -> the running demo, with a database of its own."""

    def start(*options: str, folder: Path = TODO) -> Any:
        command = [sys.executable, str(folder / "run.py"), "--no-browser"]
        return run_program([*command, "--data", str(tmp_path / "data"), *ANY_PORTS, *options])

    return start


def changed_copy(folder: Path) -> Path:
    """The demo, for a test to change."""
    shutil.copy(TODO.parent / "running.py", folder)
    copy = folder / "copy"
    shutil.copytree(TODO, copy, ignore=shutil.ignore_patterns("data", "__pycache__"))
    return copy


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_says_where_the_page_is_and_stops_both_servers(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    demo = start()
    address = demo.wait_for(ADDRESS)
    with urlopen(address[1], timeout=patient(20)) as page:
        assert b"<title>Todo</title>" in page.read()
    run_file = tmp_path / "data" / "run.json"
    run = json.loads(run_file.read_text())
    assert run_file.stat().st_mode & 0o777 == 0o600

    assert demo.stop(number) == 0
    assert demo.lines[-1] == "The demo has stopped."
    assert not run_file.exists()
    ports = [int(address[2]), int(run["SNORKY_PORT"]), int(run["SNORKY_BACKEND_PORT"])]
    assert not any(map(listens, ports))
    assert run["SNORKY_API_KEY"] not in "\n".join(demo.lines)


def test_it_waits_for_the_slower_server_to_stop(start: Start, tmp_path: Path) -> None:
    folder = changed_copy(tmp_path)
    with (folder / "live.py").open("a") as live:
        live.write("import atexit, time\n")
        live.write("atexit.register(print, 'said at the very end')\n")
        live.write("atexit.register(time.sleep, 0.5)\n")
    demo = start(folder=folder)
    demo.wait_for(ADDRESS)
    assert demo.stop(signal.SIGINT) == 0
    assert demo.lines[-2:] == ["snorky | said at the very end", "The demo has stopped."]


def test_the_django_shell_in_another_terminal_reaches_the_same_snorky(
    start: Start, tmp_path: Path
) -> None:
    demo = start()
    demo.wait_for(ADDRESS)
    subprocess.run(
        [sys.executable, str(TODO / "manage.py"), "shell", "-c", "Todo(title='Hello').save()"],
        env={**os.environ, "TODO_DATA": str(tmp_path / "data")},
        check=True,
    )
    demo.wait_for(r"snorky \| .* POST /backend 200 ")


def test_a_server_that_was_killed_is_started_again(start: Start) -> None:
    demo = start()
    demo.wait_for(ADDRESS)
    killed = demo.wait_for(SNORKY_ANSWERS)[1]
    os.kill(int(killed), signal.SIGKILL)
    demo.wait_for(r"snorky \| has ended with status -9 and is started again")
    demo.wait_for(SNORKY_ANSWERS.replace("kill ", f"kill (?!{killed}$)"))


def test_a_port_that_is_taken_is_replaced_by_a_free_one(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        demo = start("--port", str(taken))
        port = demo.wait_for(f"Port {taken} is taken: the page is at (\\d+) instead")[1]
        assert demo.wait_for(ADDRESS)[2] == port


def test_a_second_run_with_the_same_database_is_refused(start: Start) -> None:
    address = start().wait_for(ADDRESS)[1]
    second = start()
    assert second.end() == 1
    assert second.lines == [f"The demo runs already: open {address}"]


def test_a_server_that_cannot_start_ends_the_run(start: Start, tmp_path: Path) -> None:
    folder = changed_copy(tmp_path)
    (folder / "live.py").write_text("raise SystemExit(3)")
    demo = start(folder=folder)
    assert demo.end() == 1
    assert demo.lines[-1] == "snorky ended with status 3 before it answered."


def test_a_database_that_cannot_be_used_ends_the_run(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    demo = start()
    assert demo.end() == 1
    assert demo.lines[-1] == f"The database in {tmp_path / 'data'} cannot be used."


def test_help_tells_the_options(run_program: Callable[..., Any]) -> None:
    demo = run_program([sys.executable, str(TODO / "run.py"), "--help"])
    assert demo.end() == 0
    assert "--no-browser" in "\n".join(demo.lines)
