"""The board, run as a person runs it: pointers that follow, and what is drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocket, expect

from tests.browser.conftest import Windows
from tests.browser.one_program import Demo, expect_names
from tests.patience import patient

RECOVERY_MS = patient(40_000)
DESK = {"width": 900, "height": 700}
PHONE = {"width": 360, "height": 640}


@pytest.fixture
def demo(run_program: Callable[..., Any]) -> Demo:
    return Demo("cursors", run_program)


@pytest.fixture
def windows(browser: Browser, demo: Demo) -> Iterator[Windows]:
    windows = Windows(browser, demo.address)
    yield windows
    windows.close()


def open_board(windows: Windows, name: str, **options: Any) -> Page:
    page = windows.open(**{"viewport": DESK, **options})
    expect(page.get_by_role("status")).to_have_text("Live")
    page.get_by_label("Your name").fill(name)
    return page


def others(page: Page) -> Locator:
    return page.get_by_role("list", name="The others").get_by_role("listitem")


def on_board(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the board, in parts of it, is in the window."""
    box = page.locator("#board").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def move(page: Page, x: float, y: float) -> None:
    page.mouse.move(*on_board(page, x, y))


def expect_pointer(page: Page, x: float, y: float) -> None:
    """The only pointer of somebody else is seen there, as a part of this window's board."""
    page.wait_for_function(
        """([x, y]) => {
          const board = document.getElementById("board").getBoundingClientRect();
          const pointer = document.querySelector(".pointer:not(.away)")?.getBoundingClientRect();
          return pointer && Math.abs((pointer.x - board.x) / board.width - x) < 0.02
            && Math.abs((pointer.y - board.y) / board.height - y) < 0.02;
        }""",
        arg=[x, y],
    )


def strokes(page: Page) -> Locator:
    return page.locator("#drawing polyline")


def test_everybody_sees_the_pointers_of_the_others(windows: Windows) -> None:
    alice = open_board(windows, "Alice")
    bob = open_board(windows, "Bob", viewport=PHONE)
    expect(others(alice)).to_have_text(["Bob"])
    expect(others(bob)).to_have_text(["Alice"])
    expect(bob.locator(".pointer.away")).to_have_count(1)
    move(alice, 0.25, 0.75)
    expect_pointer(bob, 0.25, 0.75)
    move(alice, 0.8, 0.1)
    expect_pointer(bob, 0.8, 0.1)
    alice.get_by_label("Your name").fill("<b>Al</b>")
    expect(bob.locator(".pointer")).to_have_text("<b>Al</b>")
    alice.mouse.move(2, 2)
    expect(bob.locator(".pointer.away")).to_have_count(1)
    alice.close()
    expect(others(bob)).to_have_count(0)
    expect(bob.locator(".pointer")).to_have_count(0)


def test_what_is_drawn_is_on_every_board_for_those_who_come_later_too(windows: Windows) -> None:
    alice, bob = open_board(windows, "Alice"), open_board(windows, "Bob")
    move(alice, 0.1, 0.1)
    alice.mouse.down()
    alice.mouse.move(*on_board(alice, 0.9, 0.9), steps=20)
    alice.mouse.up()
    move(alice, 0.5, 0.2)
    alice.mouse.down()
    alice.mouse.up()
    for page in (alice, bob):
        expect(strokes(page)).to_have_count(2)
    carol = open_board(windows, "Carol")
    expect(strokes(carol)).to_have_count(2)
    points = "each => [...each.points].map(({x, y}) => [x, y])"
    drawn = strokes(alice).first.evaluate(points)
    assert len(drawn) == 22  # the first one twice
    for page in (bob, carol):
        page.wait_for_function(
            """count => document.querySelector("#drawing polyline").points.length === count""",
            arg=len(drawn),
        )
        assert strokes(page).first.evaluate(points) == drawn
    bob.get_by_role("button", name="Clear").click()
    for page in (alice, bob, carol):
        expect(strokes(page)).to_have_count(0)


def drag_finger(page: Page, places: list[tuple[float, float]]) -> None:
    devtools = page.context.new_cdp_session(page)
    for number, (x, y) in enumerate(places):
        kind = "touchMove" if number else "touchStart"
        point = dict(zip("xy", on_board(page, x, y), strict=True))
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_finger_draws_and_scrolls_nothing(windows: Windows) -> None:
    desk = open_board(windows, "Desk")
    phone = open_board(windows, "Phone", viewport=PHONE, has_touch=True, is_mobile=True)
    drag_finger(phone, [(0.5, n / 10) for n in range(9, 0, -1)])
    expect(strokes(desk)).to_have_count(1)
    expect_pointer(desk, 0.5, 0.1)
    desk.wait_for_function("""() => {
      const {points} = document.querySelector("#drawing polyline");
      return points[points.length - 1].y < 150;
    }""")


def test_a_hand_that_moves_fast_sends_thirty_messages_a_second(windows: Windows) -> None:
    sent: list[str] = []

    def count(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(str(frame)))

    other = open_board(windows, "Bob")
    page = open_board(windows, "Alice")
    page.on("websocket", count)
    page.reload()
    expect(page.get_by_role("status")).to_have_text("Live")
    move(page, 0.1, 0.1)
    sent.clear()
    began = time.monotonic()
    page.mouse.move(*on_board(page, 0.9, 0.9), steps=300)
    seconds = time.monotonic() - began
    expect_pointer(other, 0.9, 0.9)
    updates = [text for text in sent if "updateCursor" in text]
    assert 1 <= len(updates) <= 30 * seconds + 3


def test_a_pointer_glides_from_place_to_place(windows: Windows) -> None:
    page = open_board(windows, "Alice")
    seen = page.evaluate(
        """async () => {
          const {Glide} = await import("/motion.js");
          const glide = new Glide([0, 0], 1000);
          const seen = [glide.at(1000)];
          glide.moveTo([100, 200], 1040); // heard of after 40 ms: it takes as long
          seen.push(glide.at(1040), glide.at(1060), glide.at(1080), glide.at(5000));
          glide.moveTo([0, 0], 5000); // after a pause
          seen.push(glide.at(5060), glide.hasArrived(5119), glide.hasArrived(5120));
          return seen;
        }"""
    )
    assert seen[:5] == [[0, 0], [0, 0], [50, 100], [100, 200], [100, 200]]
    assert seen[5:] == [[50, 100], False, True]


def test_the_board_survives_strange_visitors(windows: Windows) -> None:
    alice, odd = open_board(windows, "Alice"), open_board(windows, "Odd")
    expect(others(alice)).to_have_text(["Odd"])
    answers = odd.evaluate(
        """async () => {
          const {cursors, drawing} = new Snorky(WebSocket, `ws://${location.host}/ws`,
            {cursors: Snorky.Cursors, drawing: Snorky.RPCService}).services;
          const board = await cursors.join({document: "board"});
          await board.createCursor({position: "<img>", status: [null]})[1];
          await board.createCursor({position: {x: 1}, status: {name: {}, colour: "red"}})[1];
          const bad = [
            cursors.join({document: "elsewhere"}),
            drawing.rpcCall("draw", {number: 1, colour: 8, points: [[1, 1]]}),
            drawing.rpcCall("draw", {number: 1, colour: 1, points: [[1, 1201]]}),
            drawing.rpcCall("draw", {number: 1, colour: 1, points: []}),
          ];
          return Promise.all(bad.map(call => call.then(() => "fine", error => error.message)));
        }"""
    )
    assert answers == ["Not authorized", "Invalid params", "Invalid params", "Invalid params"]
    expect(others(alice)).to_have_text(["Odd", "?", "[object Object]"])
    odd.close()
    expect(others(alice)).to_have_count(0)


def test_boards_come_back_after_a_restart(windows: Windows, demo: Demo) -> None:
    windows.expect("ERR_", "WebSocket connection to")
    alice, bob = open_board(windows, "Alice"), open_board(windows, "Bob")
    demo.stop()
    for page in (alice, bob):
        expect(page.get_by_role("status")).to_have_text("Reconnecting…", timeout=RECOVERY_MS)
    demo.start()
    for page, other in ((alice, "Bob"), (bob, "Alice")):
        expect(page.get_by_role("status")).to_have_text("Live", timeout=RECOVERY_MS)
        expect(others(page)).to_have_text([other], timeout=RECOVERY_MS)
    move(alice, 0.3, 0.3)
    expect_pointer(bob, 0.3, 0.3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(windows: Windows, scheme: str) -> None:
    for n in range(4):
        open_board(windows, f"A visitor with a long name {n}")
    phone = open_board(windows, "Phone", viewport=PHONE, color_scheme=scheme)
    expect(others(phone)).to_have_count(4)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    box = phone.locator("#board").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert box["width"] > 300
    expect_names(phone)
    background = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(243, 244, 240)", "dark": "rgb(20, 23, 26)"}[scheme]
