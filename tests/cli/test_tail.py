"""``snorky tail`` as a process: what it prints, through restarts, and how it stops."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from snorky.cli import main
from snorky.cli.tail import as_text
from tests.patience import patient
from tests.ports import free_port

LIVE = Path(__file__).parents[2] / "docs" / "examples" / "events" / "live.py"
KEY = {"SNORKY_API_KEY": "swordfish"}
TIME = r"^\d\d:\d\d:\d\d "


class Events:
    """Snorky, told by a web application what to update."""

    def __init__(self, serve: Callable[..., Any]) -> None:
        self._serve = serve
        self._ports = [str(free_port()), str(free_port())]
        self.start()

    def start(self) -> None:
        options = ("--port", self._ports[0], "--backend-port", self._ports[1])
        self.server = self._serve(LIVE, *options)
        self.url = self.server.backend_url

    def update(self, path: str, message: Any = None) -> None:
        params = {"path": path, "message": message}
        envelope = {"service": "events_backend", "message": {"command": "update", "params": params}}
        answer = httpx2.post(self.url, headers={"X-Backend-Key": "swordfish"}, json=envelope)
        assert answer.json()["message"]["type"] == "response"

    def update_until(self, program: Any, path: str, message: str) -> None:
        """Again and again: nobody knows when it has begun to watch."""
        deadline = time.monotonic() + patient(20)
        while not any(message in line for line in program.lines):
            assert time.monotonic() < deadline, program.lines
            self.update(path, message)
            time.sleep(0.05)


@pytest.fixture
def events(serve: Callable[..., Any]) -> Events:
    return Events(serve)


Tail = Callable[..., Any]


@pytest.fixture
def tail(run_program: Callable[..., Any], events: Events) -> Tail:
    def run(*arguments: str) -> Any:
        command = [sys.executable, "-W", "error", "-m", "snorky", "tail", "--url", events.url]
        return run_program([*command, *arguments], **KEY)

    return run


def test_every_event_is_printed_as_text(events: Events, tail: Tail) -> None:
    program = tail()
    program.wait_for(TIME + r"::connect tap-\w+->\*$")
    events.update("/jobs/7", {"percent": 15, "step": "größer"})
    events.update("/jobs/8", "\x1b[31mred\n")
    events.update("/jobs/9")
    program.wait_for(TIME + r'/jobs/7 \{"percent": 15, "step": "größer"\}$')
    program.wait_for(TIME + r"/jobs/8 \\x1b\[31mred\\n$")
    program.wait_for(TIME + r"/jobs/9$")
    assert program.stop(signal.SIGINT) == 0
    assert len(program.lines) == 4
    assert events.server.stop() == 0
    faults = [line for line in events.server.lines if re.search("WARNING|ERROR", line)]
    assert faults == []


def test_paths_are_chosen_and_json_is_for_programs(events: Events, tail: Tail) -> None:
    program = tail("/jobs/*", "/jobs/7", "/news", "--json")
    events.update_until(program, "/news", "begun")
    events.update("/jobs", "no")
    events.update("/jobs/7/log", ["\x1b", 1, None])
    program.wait_for("7/log")
    lines = [json.loads(line) for line in program.lines]
    assert lines[0] == {"path": "/news", "message": "begun"}
    assert lines[-1] == {"path": "/jobs/7/log", "message": ["\x1b", 1, None]}
    assert {line["path"] for line in lines} == {"/news", "/jobs/7/log"}
    assert program.stop(signal.SIGINT) == 0


def test_it_goes_on_when_snorky_is_back(events: Events, tail: Tail) -> None:
    program = tail("/jobs/*")
    events.update_until(program, "/jobs/7", "before")
    assert events.server.stop() == 0
    program.wait_for(
        r"^Snorky does not answer at http://127\.0\.0\.1:\d+/backend\. Trying again\.$"
    )
    events.start()
    program.wait_for("^Connected again; what came meanwhile may be missing")
    events.update_until(program, "/jobs/7", "after")
    assert program.stop(signal.SIGINT) == 0


def test_a_burst_is_printed_whole_and_in_order(events: Events, tail: Tail) -> None:
    program = tail("/n", "--json")
    events.update_until(program, "/n", "begun")
    for number in range(200):
        events.update("/n", number)
    program.wait_for('"message": 199}')
    printed = [json.loads(line)["message"] for line in program.lines]
    assert [message for message in printed if message != "begun"] == list(range(200))


def test_it_ends_with_the_program_it_prints_to(events: Events, run_program: Any) -> None:
    snorky = f"{sys.executable} -m snorky tail --url {events.url}"
    program = run_program(["sh", "-c", f"{snorky} | head -1"], **KEY)
    program.wait_for("::connect")
    events.update("/n", 1)
    assert program.end() == 0
    assert len(program.lines) == 1


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--key", "wrong"], "Error: Snorky refuses: Invalid API key"),
        (["--service", "other"], 'Error: There is no service "other" at http'),
        (["/a*"], "Error: Snorky refuses: * must be at the end of a path, after a slash"),
    ],
)
def test_what_is_hopeless_ends_it_with_the_reason(
    events: Events, options: list[str], fault: str
) -> None:
    result = CliRunner().invoke(main, ["tail", "--url", events.url, *options], env=KEY)
    assert result.exit_code == 1
    assert fault in result.output


def test_another_address_is_told_from_snorkys(events: Events) -> None:
    url = events.url.replace("/backend", "/metrics")
    result = CliRunner().invoke(main, ["tail", "--url", url], env=KEY)
    assert (result.exit_code, "and not as a back end of Snorky does" in result.output) == (1, True)
    for address in ("nowhere", "ftp://127.0.0.1/"):
        result = CliRunner().invoke(main, ["tail", "--url", address], env=KEY)
        assert (result.exit_code, "The backend's URL must be like http://" in result.output) == (
            2,
            True,
        )


def test_the_key_is_needed_and_help_says_everything() -> None:
    result = CliRunner().invoke(main, ["tail"], env={"SNORKY_API_KEY": ""})
    assert (result.exit_code, "Missing option '--key'" in result.output) == (2, True)
    text = CliRunner().invoke(main, ["tail", "--help"]).output
    for word in ("PATH", "--url", "SNORKY_API_KEY", "--json", "events_backend", "Ctrl-C"):
        assert word in text


def test_a_line_is_one_line_and_not_endless() -> None:
    assert as_text({"path": "/a", "message": "x" * 20_000}).endswith("...")
    assert as_text({"path": "/a\u2028", "message": None})[9:] == "/a\\u2028"
