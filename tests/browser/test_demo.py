"""``snorky demo`` as a stranger sees it: the list, a second window, the picture of the wire."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Windows


@pytest.fixture
def windows(browser: Browser, run_program: Callable[..., Any]) -> Iterator[Windows]:
    command = [sys.executable, "-m", "snorky", "demo", "--no-browser", "--port", "0"]
    address = run_program(command).wait_for(r"Open (http://localhost:\d+/)")[1]
    windows = Windows(browser, address)
    yield windows
    windows.close()


def add(page: Page, title: str) -> None:
    page.get_by_label("What to buy?").fill(title)
    page.get_by_role("button", name="Add").click()


def steps(page: Page) -> list[str]:
    return page.locator("#steps > li").all_inner_texts()


def test_a_change_in_one_window_is_in_all_of_them(windows: Windows) -> None:
    one, two = windows.open(), windows.open()
    frame = one.frame_locator("iframe")
    for window in (one, two):
        expect(window.get_by_role("status")).to_have_text("Live")
    add(one, "<b>Milk</b>")
    for items in (one, two, frame):
        expect(items.get_by_label("<b>Milk</b>", exact=True)).to_be_visible()
    two.get_by_label("Bread", exact=True).click()
    for items in (one, two, frame):
        expect(items.get_by_label("Bread", exact=True)).to_be_checked()
    frame.get_by_label("Delete Two lemons").click()
    for items in (one, two, frame):
        expect(items.get_by_label("Two lemons", exact=True)).to_have_count(0)


def test_the_picture_tells_how_the_list_came_and_what_a_change_does(windows: Windows) -> None:
    page = windows.open()
    expect(page.locator("#steps")).to_contain_text("from now on, every change")
    came = "\n".join(page.locator("#steps .mine").all_inner_texts())
    order = ["GET /api/items", "authorizeSubscription", "a token", "SELECT", "200 OK"]
    order += ["openSubscriptions", "from now on, every change"]
    positions = [came.index(step) for step in order]
    assert positions == sorted(positions)

    # Who else is there has come, too: what it does is not taken for what this window does.
    expect(page.locator("#steps")).to_contain_text("Another window wants the list")
    page.get_by_role("button", name="Clear").click()
    add(page, "Milk")
    expect(page.locator("#steps")).to_contain_text("201 Created")
    picture = steps(page)
    assert picture[0] == "This window adds an item"
    assert "publishDeltas" in picture
    assert "changes" in picture
    page.get_by_role("button", name="publishDeltas").click()
    expect(page.locator("#steps pre")).to_contain_text('"title": "Milk"')


def test_a_window_that_was_cut_off_has_the_list_again(windows: Windows) -> None:
    one, two = windows.open(), windows.open()
    for window in (one, two):
        expect(window.get_by_role("status")).to_have_text("Live")
    one.get_by_role("button", name="Cut the connection").click()
    expect(one.get_by_role("status")).to_have_text("Cut off")
    add(two, "Milk")
    expect(two.get_by_label("Milk", exact=True)).to_be_visible()
    expect(one.locator("#items").get_by_text("Milk")).to_have_count(0)
    one.get_by_role("button", name="Connect again").click()
    expect(one.locator("#items").get_by_label("Milk", exact=True)).to_be_visible()


def test_what_is_refused_is_said(windows: Windows) -> None:
    page = windows.open()
    expect(page.get_by_role("status")).to_have_text("Live")
    windows.expect("400 (Bad Request)")
    add(page, "   ")
    expect(page.get_by_role("alert")).to_have_text("title: expected some text.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(windows: Windows, scheme: str) -> None:
    page = windows.open(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    expect(page.get_by_role("status")).to_have_text("Live")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(243, 244, 240)", "dark": "rgb(20, 23, 26)"}[scheme]
