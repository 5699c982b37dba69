"""The rooms with AngularJS, run as a person runs them: several people, several windows of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.browser.conftest import Windows
from tests.browser.one_program import ROOT, Demo, expect_names, expect_to_fit
from tests.patience import patient

ANGULAR = ROOT / "tests/angularjs/node_modules/angular/angular.min.js"
SCRIPTS = {"https://cdn.jsdelivr.net/npm/angular@1.8.3/angular.min.js": ANGULAR}
RECOVERY_MS = patient(40_000)


@pytest.fixture
def demo(run_program: Callable[..., Any]) -> Demo:
    return Demo("chat_angularjs", run_program)


@pytest.fixture
def windows(browser: Browser, demo: Demo) -> Iterator[Windows]:
    windows = Windows(browser, demo.address, SCRIPTS)
    yield windows
    windows.close()


def log_in(page: Page, name: str) -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#status")).to_have_text("Live")


def room(page: Page, name: str) -> Locator:
    return page.get_by_role("navigation").get_by_role("button").filter(has_text=name)


def enter(page: Page, name: str) -> None:
    room(page, name).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def say(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def members(page: Page) -> Locator:
    return page.locator("#members li")


def said(page: Page) -> Locator:
    return page.locator("#lines li:not(.notice) span")


def notices(page: Page) -> Locator:
    return page.locator("#lines .notice span")


def test_people_see_who_is_in_the_room_and_what_is_said(windows: Windows) -> None:
    alice, bob = windows.open(), windows.open()
    log_in(alice, "Alice")
    log_in(bob, "Bob")
    enter(alice, "Kitchen")
    expect(members(alice)).to_have_text(["Alice"])
    enter(bob, "Kitchen")
    for page in (alice, bob):
        expect(members(page)).to_have_text(["Alice", "Bob"])
    expect(notices(alice)).to_have_text("Bob has come in")

    say(alice, "Hello <b>Bob</b> {{1 + 1}}")
    say(bob, "Hello Alice")
    for page in (alice, bob):
        expect(said(page)).to_have_text(["Hello <b>Bob</b> {{1 + 1}}", "Hello Alice"])
    bob.get_by_role("button", name="Leave").click()
    expect(members(alice)).to_have_text(["Alice"])
    expect(notices(alice).last).to_have_text("Bob has left")


def test_windows_of_one_person_are_one_member_and_share_what_was_read(windows: Windows) -> None:
    bob, desk = windows.open(), windows.open()
    log_in(bob, "Bob")
    log_in(desk, "Alice")
    tab = windows.open_tab(desk.context)
    expect(tab.locator("#me")).to_have_text("Alice")
    enter(bob, "Garden")
    for page in (desk, tab):
        enter(page, "Garden")
        enter(page, "Kitchen")
    expect(members(bob)).to_have_text(["Bob", "Alice"])
    expect(notices(bob)).to_have_text(["Alice has come in"])

    for text in ("One", "Two"):
        say(bob, text)
    for page in (desk, tab):
        expect(room(page, "Garden").get_by_label("2 unread")).to_be_visible()
    expect(tab).to_have_title("(2) Rooms")
    enter(desk, "Garden")
    expect(said(desk)).to_have_text(["One", "Two"])
    expect(desk.locator(".new")).to_have_text("New")
    for page in (desk, tab):
        expect(room(page, "Garden").get_by_label("2 unread")).to_have_count(0)
    expect(tab).to_have_title("Rooms")

    tab.close()
    say(bob, "One window is closed")
    expect(said(desk)).to_have_count(3)
    expect(members(bob)).to_have_text(["Bob", "Alice"])
    desk.close()
    expect(members(bob)).to_have_text(["Bob"])


def test_logging_out_ends_all_windows_of_the_browser(windows: Windows) -> None:
    windows.expect("closed the connection for good", "WebSocket connection to")
    bob, desk = windows.open(), windows.open()
    log_in(bob, "Bob")
    log_in(desk, "Alice")
    tab = windows.open_tab(desk.context)
    for page in (bob, desk, tab):
        enter(page, "Library")
    expect(members(bob)).to_have_count(2)
    desk.get_by_role("button", name="Log out").click()
    for page in (desk, tab):
        expect(page.get_by_label("Your name")).to_be_visible()
        expect(page.get_by_role("main")).to_be_hidden()
    expect(members(bob)).to_have_text(["Bob"])
    log_in(desk, "Anna")
    enter(desk, "Library")
    expect(members(bob)).to_have_text(["Bob", "Anna"])


def test_whoever_has_the_same_name_elsewhere_stays_when_one_logs_out(windows: Windows) -> None:
    windows.expect("closed the connection for good")
    desk, phone = windows.open(), windows.open()
    for page in (desk, phone):
        log_in(page, "Alice")
        enter(page, "Kitchen")
    desk.get_by_role("button", name="Log out").click()
    expect(desk.get_by_label("Your name")).to_be_visible()
    expect(phone.locator("#status")).to_have_text("Live")
    say(phone, "Still here")
    expect(said(phone)).to_have_text(["Still here"])


def test_after_a_restart_one_logs_in_again(windows: Windows, demo: Demo) -> None:
    windows.expect("ERR_", "WebSocket connection to")
    page = windows.open()
    log_in(page, "Alice")
    demo.stop()
    expect(page.locator("#status")).to_have_text("Reconnecting…", timeout=RECOVERY_MS)
    demo.start()
    expect(page.get_by_label("Your name")).to_be_visible(timeout=RECOVERY_MS)
    log_in(page, "Alice")
    enter(page, "Kitchen")
    expect(members(page)).to_have_text(["Alice"])


def request(demo: Demo, method: str, body: bytes | None, **headers: str) -> tuple[int, Any]:
    address = f"{demo.address}visitor"
    try:
        with urlopen(Request(address, body, headers, method=method), timeout=patient(20)) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, None


def test_nobody_comes_in_without_a_cookie_of_this_run(demo: Demo) -> None:
    address = demo.address.replace("http", "ws") + "ws"
    for headers in ({}, {"Cookie": "visitor=Alice"}, {"Cookie": "visitor=2|1:0|forged"}):
        with pytest.raises(InvalidStatus) as refusal, connect(address, additional_headers=headers):
            pass
        assert refusal.value.response.status_code == 401


def test_names_are_checked_and_pages_of_other_sites_refused(demo: Demo) -> None:
    assert request(demo, "POST", b'{"name": " Alice "}') == (200, {"name": "Alice"})
    for body in (b"", b"[]", b'{"name": 1}', b'{"name": "<Alice>"}', b'{"name": ""}'):
        assert request(demo, "POST", body)[0] == 400
    assert request(demo, "POST", b'{"name": "Alice"}', Origin="http://example.com")[0] == 403


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(windows: Windows, scheme: str) -> None:
    windows.expect("status of 400")
    phone = windows.open(viewport={"width": 360, "height": 640}, color_scheme=scheme)
    phone.get_by_label("Your name").fill("<Alice>")
    phone.get_by_role("button", name="Log in").click()
    expect(phone.get_by_role("alert").first).to_contain_text("A name has")
    expect_to_fit(phone, 360)
    expect_names(phone)
    log_in(phone, "Somebody With A Long Name")
    room(phone, "Kitchen").click()
    say(phone, "a word without an end" * 10)
    expect(said(phone)).to_have_count(1)
    expect_to_fit(phone, 360)
    expect_names(phone)
    background = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(243, 244, 240)", "dark": "rgb(20, 23, 26)"}[scheme]
