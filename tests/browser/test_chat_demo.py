"""The chat over SockJS, run as a person runs it: people who write to each other."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Windows, listens, wait_for
from tests.browser.one_program import ADDRESS, DEMOS, ROOT, Demo, expect_names, expect_to_fit
from tests.patience import patient
from tests.ports import free_ports

SOCKJS = ROOT / "tests/sockjs_client/node_modules/sockjs-client/dist/sockjs.min.js"
SCRIPTS = {"https://cdn.jsdelivr.net/npm/sockjs-client@1.6.1/dist/sockjs.min.js": SOCKJS}
RECOVERY_MS = patient(40_000)


@pytest.fixture
def demo(run_program: Callable[..., Any]) -> Demo:
    return Demo("chat", run_program)


@pytest.fixture
def windows(browser: Browser, demo: Demo) -> Iterator[Windows]:
    windows = Windows(browser, demo.address, SCRIPTS)
    yield windows
    windows.close()


def come_in(page: Page, name: str) -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Come in").click()


def person(page: Page, name: str) -> Locator:
    return page.locator("#people button").filter(has_text=name)


def write(page: Page, name: str, text: str) -> None:
    person(page, name).click()
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def lines(page: Page) -> Locator:
    return page.locator("#lines li")


def test_people_see_each_other_and_write_to_whom_they_choose(windows: Windows) -> None:
    alice, bob, carol = (windows.open() for _ in range(3))
    for page, name in ((alice, "Alice"), (bob, "Bob"), (carol, "Carol")):
        come_in(page, name)
    expect(alice.locator("#people button")).to_have_text(["Bob", "Carol"])

    write(alice, "Bob", "Hello <b>Bob</b>")
    expect(person(bob, "Alice").get_by_label("1 unread")).to_be_visible()
    person(bob, "Alice").click()
    expect(lines(bob)).to_contain_text("Hello <b>Bob</b>")
    expect(bob.get_by_label("1 unread")).to_have_count(0)
    write(bob, "Alice", "Hello Alice")
    expect(lines(alice)).to_have_count(2)
    expect(lines(alice).last).to_contain_text("Hello Alice")

    write(bob, "Carol", "Only for you")
    person(carol, "Bob").click()
    expect(lines(carol)).to_contain_text("Only for you")
    expect(lines(alice)).to_have_count(2)

    carol.close()
    expect(person(bob, "Carol")).to_have_class("away")
    expect(alice.locator("#people button")).to_have_text(["Bob"])
    write(bob, "Carol", "Are you there?")
    expect(bob.get_by_role("alert").last).to_have_text("Not sent: Unknown destination")
    expect(bob.get_by_label("Message")).to_have_value("Are you there?")


def test_a_name_is_one_persons_and_no_nonsense(windows: Windows) -> None:
    alice, other = windows.open(), windows.open()
    come_in(alice, "Alice")
    expect(alice.get_by_role("main")).to_be_visible()
    come_in(other, "Alice")
    expect(other.get_by_role("alert").first).to_have_text("Name already registered")
    come_in(other, "<Alice>")
    expect(other.get_by_role("alert").first).to_have_text("Name not allowed")
    come_in(other, "Alice B.")
    expect(other.get_by_role("alert").first).to_have_text("Name not allowed")
    come_in(other, "Zoë O'Neil-2")
    expect(person(alice, "Zoë O'Neil-2")).to_be_visible()


def test_it_survives_a_restart_without_websocket_too(windows: Windows, demo: Demo) -> None:
    alice = windows.open()
    bob = windows.open()
    bob.add_init_script("delete window.WebSocket")
    bob.reload()
    windows.expect("ERR_", "status of 404", "WebSocket connection")  # what Chromium says meanwhile
    come_in(alice, "Alice")
    come_in(bob, "Bob")
    write(alice, "Bob", "Before")
    person(bob, "Alice").click()
    expect(lines(bob)).to_contain_text("Before")

    demo.stop()
    for page in (alice, bob):
        expect(page.get_by_role("status")).to_have_text("Reconnecting…", timeout=RECOVERY_MS)
    demo.start()
    for page, name in ((alice, "Bob"), (bob, "Alice")):
        expect(page.get_by_role("status")).to_have_text("Live", timeout=RECOVERY_MS)
        expect(person(page, name)).not_to_have_class("away")
    write(bob, "Alice", "And after")
    expect(lines(alice).last).to_contain_text("And after")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(windows: Windows, scheme: str) -> None:
    desk = windows.open()
    phone = windows.open(viewport={"width": 360, "height": 640}, color_scheme=scheme)
    expect_to_fit(phone, 360)
    expect_names(phone)
    come_in(desk, "Somebody With A Long Name")
    come_in(phone, "Bob")
    write(desk, "Bob", "a word without an end" * 10)
    person(phone, "Somebody With A Long").click()
    expect(lines(phone)).to_have_count(1)
    expect_to_fit(phone, 360)
    expect_names(phone)
    background = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(243, 244, 240)", "dark": "rgb(20, 23, 26)"}[scheme]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_and_it_says_so(
    run_program: Callable[..., Any], number: signal.Signals
) -> None:
    command = [sys.executable, str(DEMOS / "chat" / "run.py"), "--no-browser", "--port", "0"]
    program = run_program(command)
    port = int(program.wait_for(ADDRESS)[2])
    assert program.stop(number) == 0
    assert program.lines[-1] == "The demo has stopped."
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_is_replaced_and_said(run_program: Callable[..., Any]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        command = [sys.executable, str(DEMOS / "chat" / "run.py"), "--no-browser"]
        program = run_program([*command, "--port", str(taken)])
        port = program.wait_for(f"Port {taken} is taken: the page is at (\\d+) instead")[1]
        assert program.wait_for(ADDRESS)[2] == port


def test_help_tells_the_options(run_program: Callable[..., Any]) -> None:
    program = run_program([sys.executable, str(DEMOS / "chat" / "run.py"), "--help"])
    assert program.end() == 0
    assert {"--port", "--no-browser"} <= set(" ".join(program.lines).split())


def test_the_plain_program_serves_the_same(
    run_program: Callable[..., Any], browser: Browser, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    folder = tmp_path / "chat"
    shutil.copytree(DEMOS / "chat", folder)
    shutil.copy(DEMOS / "look.css", tmp_path)
    program = folder / "run_snorky_server.py"
    program.write_text(program.read_text().replace("8000", str(port)))
    server = run_program([sys.executable, "-W", "error", str(program)])
    wait_for(lambda: listens(port), "it listens")
    windows = Windows(browser, f"http://127.0.0.1:{port}/", SCRIPTS)
    alice, bob = windows.open(), windows.open()
    come_in(alice, "Alice")
    come_in(bob, "Bob")
    write(alice, "Bob", "Hello")
    expect(person(bob, "Alice").get_by_label("1 unread")).to_be_visible()
    windows.close()
    assert server.stop(signal.SIGINT) == 0
    assert server.lines == ["Bye"]
