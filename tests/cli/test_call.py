"""``snorky call`` as a process: what it sends, what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

ECHO = """
from snorky import ServiceRegistry
from snorky.services.base import RPCError, RPCService, rpc_command
class Echo(RPCService):
    @rpc_command
    def say(self, req, n=None, text=None, service=None):
        return {"n": n, "text": text, "service": service}
    @rpc_command
    def refuse(self, req):
        raise RPCError("Not today")
frontend = ServiceRegistry()
backend = ServiceRegistry([Echo("echo")])
"""


@pytest.fixture
def url(tmp_path: Path, serve: Callable[..., Any]) -> str:
    file = tmp_path / "app.py"
    file.write_text(ECHO)
    return serve(file).backend_url


def snorky_call(url: str, *words: str, key: str = "swordfish", stdin: str = "") -> Any:
    environment = {**os.environ, "SNORKY_BACKEND_URL": url, "SNORKY_API_KEY": key}
    return subprocess.run(
        [sys.executable, "-m", "snorky", "call", *words],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_values_that_are_json_count_as_such_and_others_as_text(url: str) -> None:
    done = snorky_call(url, "echo", "say", "n=[1, null]", "text=two words", 'service="7"')
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"n": [1, None], "text": "two words", "service": "7"}


def test_a_value_may_come_from_standard_input(url: str) -> None:
    done = snorky_call(url, "echo", "say", "n=-", stdin='{"from": "a pipe"}')
    assert json.loads(done.stdout)["n"] == {"from": "a pipe"}


def test_a_refusal_is_a_failure_and_says_why(url: str) -> None:
    done = snorky_call(url, "echo", "refuse")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: Not today\n")


@pytest.mark.parametrize(
    ("words", "key", "says"),
    [
        (("nobody", "say"), "swordfish", "Message for non existing service"),
        (("echo", "sing"), "swordfish", "Unknown command"),
        (("echo", "say", "colour=1"), "swordfish", "Invalid params"),
        (("echo", "say"), "wrong", "Invalid API key"),
    ],
)
def test_what_was_wrong_is_said(url: str, words: tuple[str, ...], key: str, says: str) -> None:
    done = snorky_call(url, *words, key=key)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert key not in done.stderr


def test_nobody_there_is_a_failure() -> None:
    done = snorky_call(f"http://127.0.0.1:{free_port()}/backend", "echo", "say")
    assert done.returncode == 1
    assert "No answer from Snorky at http://127.0.0.1:" in done.stderr


@pytest.mark.parametrize("words", [("channel",), ("=1",), ("n=1", "n=2")])
def test_words_that_are_no_parameters_are_a_wrong_use(words: tuple[str, ...]) -> None:
    done = snorky_call("http://127.0.0.1:1/backend", "echo", "say", *words)
    assert done.returncode == 2
    assert "KEY=VALUE" in done.stderr or "given twice" in done.stderr
