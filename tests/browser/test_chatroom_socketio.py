"""The chat room over Socket.IO, run as a person runs it, in two windows of a real browser."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.patience import patient
from tests.ports import free_ports

DEMO = Path(__file__).resolve().parents[2] / "demos" / "chatroom_socketio"


@pytest.fixture
def start(run_program: Callable[..., Any]) -> Callable[[], Any]:
    (port,) = free_ports(1)
    command = [sys.executable, "-W", "error", str(DEMO / "run.py"), "--port", str(port)]

    def start() -> Any:
        program = run_program([*command, "--no-browser"])
        program.address = program.wait_for(r"Open (http://\S+) in two windows")[1]
        return program

    return start


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    contexts = []

    def open_page(address: str, **options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


def join(page: Page, name: str) -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Join").click()


def say(page: Page, text: str) -> None:
    page.get_by_label("Your words").fill(text)
    page.get_by_role("button", name="Send").click()


def test_two_windows_talk_and_the_room_survives_a_restart(
    start: Callable[[], Any], open_page: Callable[..., Page]
) -> None:
    program = start()
    desk = open_page(program.address, color_scheme="light")
    phone = open_page(program.address, color_scheme="dark", viewport={"width": 360, "height": 640})
    card = phone.locator("#door").bounding_box()
    button = phone.get_by_role("button", name="Join").bounding_box()
    assert card is not None and button is not None  # noqa: PT018  # for the type checker
    assert button["x"] + button["width"] <= card["x"] + card["width"]
    join(desk, "Alice")
    expect(desk.locator("#members li")).to_have_text(["Alice"])

    join(phone, "Alice")
    expect(phone.get_by_role("alert").first).to_have_text("Somebody here has this name")
    join(phone, "Bob")
    for page in (desk, phone):
        expect(page.locator("#members li")).to_have_text(["Alice", "Bob"])
    expect(desk.locator(".notice")).to_have_text("Bob has come in")

    say(desk, "Hello <b>Bob</b>")
    say(phone, "Hello Alice, " + "a word without an end" * 5)
    for page in (desk, phone):
        expect(page.locator(".line span").nth(0)).to_have_text("Hello <b>Bob</b>")
        expect(page.locator(".line b")).to_have_text(["Alice", "Bob"])
    width = phone.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    late = open_page(program.address)
    join(late, "Carol")
    expect(late.locator(".line")).to_have_count(2)
    late.close()
    expect(desk.locator(".notice").last).to_have_text("Carol has left")

    assert program.stop() == 0
    assert program.lines[-1] == "The chat room is closed."
    expect(desk.get_by_role("status")).to_have_text("Reconnecting…")
    start()
    for page in (desk, phone):
        expect(page.get_by_role("status")).to_have_text("Connected", timeout=patient(15_000))
        expect(page.locator("#members li")).to_have_count(2, timeout=patient(15_000))
    say(phone, "Here again")
    expect(desk.locator(".line span").last).to_have_text("Here again")
