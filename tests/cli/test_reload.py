"""``snorky serve --reload`` and the functions ``start`` and ``stop`` of the program."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VERSION = """
from snorky import ServiceRegistry
frontend = ServiceRegistry()
print("this is version {}")
"""

HOOKS = """
import asyncio
from snorky import ServiceRegistry
frontend = ServiceRegistry()

async def start():
    print("started in", type(asyncio.get_running_loop()).__name__)

def stop():
    print("stopped")
"""


def test_a_saved_file_starts_the_server_anew_also_after_one_that_cannot_be_run(
    tmp_path: Path, serve: Callable[..., Any]
) -> None:
    file = tmp_path / "live.py"
    file.write_text(VERSION.format(1))
    server = serve(file, "--reload")
    server.wait_for("this is version 1")
    server.wait_for("serves clients at")

    file.write_text("this is no Python")
    server.wait_for("Starting anew: live.py changed")
    server.wait_for("SyntaxError")

    file.write_text(VERSION.format(2))
    server.wait_for("this is version 2")
    assert server.stop() == 0


def test_what_is_imported_counts_too(tmp_path: Path, serve: Callable[..., Any]) -> None:
    helper = tmp_path / "prices.py"
    helper.write_text("price = 1")
    file = tmp_path / "live.py"
    file.write_text("import prices" + VERSION.format("{prices.price}").replace('("', '(f"'))
    server = serve(file, "--reload")
    server.wait_for("this is version 1")
    server.wait_for("serves clients at")

    helper.write_text("price = 22")

    server.wait_for("Starting anew: prices.py changed")
    server.wait_for("this is version 22")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_s_own_functions_run_in_the_loop_before_and_after(
    tmp_path: Path, serve: Callable[..., Any], number: int
) -> None:
    file = tmp_path / "live.py"
    file.write_text(HOOKS)
    server = serve(file)
    server.wait_for("serves clients at")
    assert server.lines[0] == "started in Loop"  # uvloop's

    assert server.stop(number) == 0
    assert server.lines[-1] == "stopped"


SERVICES = """
from snorky import ServiceRegistry
from snorky.services.base import Service

class Pool(Service):
    async def start(self):
        print(self.name, "started")

    def stop(self):
        print(self.name, "stopped")

frontend = ServiceRegistry([Pool("public")])
backend = ServiceRegistry([Pool("private")])
api_key = "open sesame"

def start():
    print("program started")

def stop():
    print("program stopped")
"""


def test_services_run_within_the_program_s_own_functions(
    tmp_path: Path, serve: Callable[..., Any]
) -> None:
    file = tmp_path / "live.py"
    file.write_text(SERVICES)
    server = serve(file)
    server.wait_for("serves clients at")
    assert server.lines[:3] == ["program started", "public started", "private started"]

    assert server.stop() == 0
    assert server.lines[-3:] == ["private stopped", "public stopped", "program stopped"]


def test_a_service_that_cannot_start_ends_the_server(
    tmp_path: Path, serve: Callable[..., Any]
) -> None:
    file = tmp_path / "live.py"
    broken = SERVICES.replace('print(self.name, "started")', "raise OSError('no database')")
    file.write_text(broken)
    server = serve(file)
    server.wait_for(r"^Error: The services could not be started: no database$")
    assert server.end() == 1
    assert "program stopped" in server.lines


def test_a_start_that_fails_ends_the_server(tmp_path: Path, serve: Callable[..., Any]) -> None:
    file = tmp_path / "live.py"
    file.write_text(VERSION + "def start():\n    raise OSError('no database')\n")
    server = serve(file)
    server.wait_for(r"^Error: start\(\) of the program failed: no database$")
    assert server.end() == 1


def test_a_start_that_is_no_function_is_refused(tmp_path: Path, serve: Callable[..., Any]) -> None:
    file = tmp_path / "live.py"
    file.write_text(VERSION + "start = 12\n")
    server = serve(file)
    server.wait_for(r"^Error: start in .*live.py must be a function without parameters; got int\.$")
    assert server.end() == 1
