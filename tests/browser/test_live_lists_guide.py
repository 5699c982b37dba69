"""The tutorial's two programs, in a real browser: first plain, then live."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Windows, listens, wait_for
from tests.patience import patient
from tests.ports import free_port

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "live_lists"


@pytest.fixture
def run(run_program: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[Any, str]]:
    """``run("live")`` -> the program, with the database of the one before, and its address."""
    folder = shutil.copytree(EXAMPLE, tmp_path / "site")

    def start(name: str, port: int | None = None) -> tuple[Any, str]:
        port = port or free_port()
        command = [sys.executable, "-m", "uvicorn", f"{name}:app", "--port", str(port)]
        program = run_program(command, cwd=folder)
        wait_for(lambda: listens(port), f"{name} listens")
        return program, f"http://127.0.0.1:{port}/"

    return start


@pytest.fixture
def open_windows(browser: Browser) -> Iterator[Callable[[str], Windows]]:
    opened: list[Windows] = []

    def make(address: str) -> Windows:
        opened.append(Windows(browser, address))
        # The page has no icon; and connections are refused while the program is away.
        opened[-1].expect("404 (Not Found)", "WebSocket connection to", "net::ERR")
        return opened[-1]

    yield make
    for windows in opened:
        windows.close()


def add(page: Page, title: str) -> None:
    page.get_by_label("Title").fill(title)
    page.get_by_role("button").click()


def expect_lists(page: Page, todo: list[str], done: list[str]) -> None:
    expect(page.locator("#todo li")).to_have_text(todo)
    expect(page.locator("#done li")).to_have_text(done)


def test_the_plain_page_shows_what_was_done_in_it(run: Any, open_windows: Any) -> None:
    page = open_windows(run("plain")[1]).open()
    add(page, "Write")
    add(page, "Read")
    expect_lists(page, ["Read", "Write"], [])
    page.get_by_label("Write").check()
    expect_lists(page, ["Read"], ["Write"])


def test_the_live_page_follows_what_is_done_anywhere(run: Any, open_windows: Any) -> None:
    _, address = run("live")
    windows = open_windows(address)
    one, two = windows.open(), windows.open()
    for page in (one, two):
        expect(page.locator("#status")).to_have_text("live")
    add(one, "Write")
    add(one, "Read")
    for page in (one, two):
        expect_lists(page, ["Read", "Write"], [])
    two.get_by_label("Write").click()
    for page in (one, two):
        expect_lists(page, ["Read"], ["Write"])

    held: list[Route] = []
    one.route("**/api/tasks/1", lambda route: held.append(route))
    one.get_by_label("Write").click()
    expect_lists(one, ["Read"], [])  # before the server has it
    expect_lists(two, ["Read"], ["Write"])
    held[0].continue_()
    for page in (one, two):
        expect_lists(page, ["Read", "Write"], [])


def test_the_live_page_outlives_its_server(run: Any, open_windows: Any) -> None:
    program, address = run("live")
    page = open_windows(address).open()
    add(page, "Write")
    expect_lists(page, ["Write"], [])
    program.stop()
    expect(page.locator("#status")).to_have_text("reconnecting")
    expect_lists(page, ["Write"], [])
    run("live", int(address.rstrip("/").rpartition(":")[2]))
    expect(page.locator("#status")).to_have_text("live", timeout=patient(40_000))
    page.get_by_label("Write").click()
    expect_lists(page, [], ["Write"])
