"""Each page of the to-do list as people see it: in two windows, on a phone, with a server away.

What the pages have in common is told of one of them; ``test_todo_pages`` has them side by side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import TODO_PAGES
from tests.browser.todo_page import add, expect_live, row, status, titles
from tests.patience import patient

RESULTS = Path(__file__).resolve().parents[2] / "test-results"

expect.set_options(timeout=patient(10_000))

in_common = pytest.mark.parametrize("todo_page", ["plain"], indirect=True)


@pytest.fixture
def one(windows: Any) -> Page:
    page: Page = windows.open()
    expect_live(page)
    return page


@pytest.fixture
def two(windows: Any) -> Page:
    page: Page = windows.open()
    expect_live(page)
    return page


def test_what_is_done_in_one_window_is_seen_in_the_other(one: Page, two: Page) -> None:
    add(one, "Buy coffee", "Repair the bicycle")
    expect(titles(two)).to_have_text(["Buy coffee", "Repair the bicycle"])
    expect(two.get_by_text("2 todos left")).to_be_visible()

    two.get_by_role("checkbox", name="Buy coffee").click()
    expect(one.get_by_role("checkbox", name="Buy coffee")).to_be_checked()
    expect(one.get_by_text("1 todo left")).to_be_visible()

    one.get_by_text("Repair the bicycle").dblclick()
    one.get_by_role("textbox", name="Title").fill("Sell the bicycle")
    one.keyboard.press("Enter")
    expect(titles(two)).to_have_text(["Buy coffee", "Sell the bicycle"])

    row(two, "Buy coffee").hover()
    row(two, "Buy coffee").get_by_role("button", name="Delete").click()
    expect(titles(one)).to_have_text(["Sell the bicycle"])


def test_what_has_changed_is_marked_and_nothing_else(one: Page, two: Page) -> None:
    add(one, "Buy coffee", "Buy tea")
    two.add_init_script("""
        const { animate } = Element.prototype;
        globalThis.marked = [];
        Element.prototype.animate = function (...options) {
            marked.push(this.querySelector(".title").textContent);
            return animate.apply(this, options);
        };
    """)
    two.reload()
    expect_live(two)
    expect(titles(two)).to_have_text(["Buy coffee", "Buy tea"])
    one.get_by_role("checkbox", name="Buy tea").click()
    expect(two.get_by_role("checkbox", name="Buy tea")).to_be_checked()
    two.get_by_role("link", name="Active").click()
    expect(titles(two)).to_have_text(["Buy coffee"])
    two.get_by_role("link", name="All", exact=True).click()
    expect(titles(two)).to_have_text(["Buy coffee", "Buy tea"])
    add(one, "Buy milk")
    two.wait_for_function("marked.length >= 2")
    assert two.evaluate("marked") == ["Buy tea", "Buy milk"]
    expect(row(two, "Buy milk")).to_have_css("background-color", "rgba(0, 0, 0, 0)")  # it fades


def test_all_are_completed_at_once_filtered_and_cleared(one: Page, two: Page) -> None:
    add(one, "Wash", "Iron", "Fold")
    two.get_by_role("checkbox", name="Iron").click()
    one.get_by_role("link", name="Active").click()
    expect(titles(one)).to_have_text(["Wash", "Fold"])
    one.get_by_role("link", name="Completed").click()
    expect(titles(one)).to_have_text(["Iron"])
    expect(one.get_by_role("link", name="Completed")).to_have_attribute("aria-current", "true")

    two.get_by_role("checkbox", name="All completed").click()
    expect(titles(one)).to_have_text(["Wash", "Iron", "Fold"])
    expect(one.get_by_text("0 todos left")).to_be_visible()
    expect(one.get_by_role("checkbox", name="All completed")).to_be_checked()
    one.get_by_role("checkbox", name="All completed").click()
    expect(one.get_by_text("Nothing completed yet.")).to_be_visible()

    expect(two.get_by_text("3 todos left")).to_be_visible()
    two.get_by_role("checkbox", name="Fold").click()
    two.get_by_role("button", name="Clear completed").click()
    expect(titles(two)).to_have_text(["Wash", "Iron"])
    one.get_by_role("link", name="All", exact=True).click()
    expect(titles(one)).to_have_text(["Wash", "Iron"])
    expect(one.get_by_role("button", name="Clear completed")).to_be_hidden()


@in_common
def test_what_is_typed_fast_keeps_its_order(one: Page) -> None:
    # The first request takes its time on the way: a second one, sent meanwhile, would overtake it.
    one.evaluate("""() => {
        const send = fetch;
        globalThis.fetch = async (...request) => {
            globalThis.fetch = send;
            await new Promise((resolve) => setTimeout(resolve, 500));
            return send(...request);
        };
    }""")
    for title in ("First", "Second"):
        one.get_by_label("New todo").fill(title)
        one.keyboard.press("Enter")
    expect(titles(one)).to_have_text(["First", "Second"])


def test_a_title_that_is_too_long_is_refused_with_the_reason(one: Page, windows: Any) -> None:
    windows.expect("400 (Bad Request)")
    field = one.get_by_label("New todo")
    field.fill("x" * 257)
    field.press("Enter")
    expect(one.get_by_role("alert")).to_contain_text("A title has at most 256 characters.")
    expect(field).to_have_value("x" * 257)

    field.fill("x" * 256)
    field.press("Enter")
    expect(titles(one)).to_have_text(["x" * 256])
    expect(one.get_by_role("alert")).to_be_hidden()


def test_titles_are_text_and_never_markup(one: Page, two: Page) -> None:
    title = "<img src=x onerror=alert(1)> & <b>bold</b> {{1 + 1}}"
    add(one, title)
    expect(titles(two)).to_have_text([title])


def test_an_edit_is_not_disturbed_by_changes_from_elsewhere(one: Page, two: Page) -> None:
    add(one, "Buy coffee", "Buy tea")
    one.get_by_text("Buy tea").dblclick()
    field = one.get_by_role("textbox", name="Title")
    field.fill("Buy green tea")
    two.get_by_role("checkbox", name="Buy coffee").click()
    two.get_by_role("checkbox", name="Buy tea").click()
    expect(one.get_by_role("checkbox", name="Buy tea")).to_be_checked()
    expect(field).to_be_focused()
    expect(field).to_have_value("Buy green tea")
    one.keyboard.press("Enter")
    expect(titles(two)).to_have_text(["Buy coffee", "Buy green tea"])
    expect(two.get_by_role("checkbox", name="Buy green tea")).to_be_checked()


def test_what_is_being_typed_is_saved_when_its_row_leaves_the_view(one: Page, two: Page) -> None:
    add(one, "Buy coffee", "Buy tea")
    one.get_by_role("link", name="Active").click()
    one.get_by_text("Buy coffee").dblclick()
    one.get_by_role("textbox", name="Title").fill("Buy beans")
    two.get_by_role("checkbox", name="Buy coffee").click()
    expect(titles(one)).to_have_text(["Buy tea"])
    expect(row(one, "Buy tea").get_by_role("button", name="Delete")).to_be_focused()
    expect(titles(two)).to_have_text(["Buy beans", "Buy tea"])


def test_everything_can_be_done_with_the_keyboard(one: Page) -> None:
    keyboard = one.keyboard
    expect(one.get_by_label("New todo")).to_be_focused()
    keyboard.type("Buy coffee")
    keyboard.press("Enter")
    keyboard.type("Buy tea")
    keyboard.press("Enter")
    expect(titles(one)).to_have_text(["Buy coffee", "Buy tea"])

    keyboard.press("Tab")  # the button Add
    keyboard.press("Tab")
    keyboard.press("Space")
    expect(one.get_by_role("checkbox", name="Buy coffee")).to_be_checked()
    keyboard.press("Tab")
    expect(row(one, "Buy coffee").get_by_role("button", name="Edit")).to_be_focused()
    keyboard.press("Enter")
    keyboard.type("Buy beans")
    keyboard.press("Escape")
    expect(row(one, "Buy coffee").get_by_role("button", name="Edit")).to_be_focused()
    keyboard.press("Enter")
    keyboard.type("Buy beans")
    keyboard.press("Enter")
    expect(titles(one)).to_have_text(["Buy beans", "Buy tea"])

    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(titles(one)).to_have_text(["Buy tea"])
    expect(row(one, "Buy tea").get_by_role("button", name="Delete")).to_be_focused()
    keyboard.press("Enter")
    expect(one.get_by_text("Nothing to do.")).to_be_visible()
    expect(one.get_by_label("New todo")).to_be_focused()


@in_common
def test_changes_made_while_snorky_is_away_appear_when_it_is_back(
    demo: Any, one: Page, two: Page, windows: Any
) -> None:
    windows.expect("WebSocket connection to")
    add(one, "Buy coffee")
    expect(titles(two)).to_have_text(["Buy coffee"])
    # Whoever ever sees the list empty, or the page loaded again, says so here.
    two.evaluate("""() => {
        globalThis.fewest = 1;
        const list = document.getElementById("todos");
        new MutationObserver(() => { fewest = Math.min(fewest, list.children.length); })
            .observe(list, { childList: true });
    }""")

    demo.snorky.stop()
    for page in (one, two):
        expect(status(page)).to_have_text("Reconnecting")
    demo.shell("Todo(title='From the shell').save()")
    add(one, "Buy tea")  # its own changes a window sees at once
    expect(titles(one)).to_have_text(["Buy coffee", "Buy tea"])
    expect(one.get_by_text("Snorky does not answer")).to_be_visible()
    expect(titles(two)).to_have_text(["Buy coffee"])

    demo.snorky.start()
    expect_live(one, two)
    for page in (one, two):
        expect(titles(page)).to_have_text(["Buy coffee", "From the shell", "Buy tea"])
    expect(one.get_by_text("Snorky does not answer")).to_be_hidden()
    add(two, "Back again")
    expect(row(one, "Back again")).to_be_visible()
    assert two.evaluate("fewest") == 1


@in_common
def test_a_page_opened_while_snorky_is_away_shows_the_list_and_becomes_live(
    demo: Any, one: Page, windows: Any
) -> None:
    windows.expect("WebSocket connection to")
    add(one, "Buy coffee")
    demo.snorky.stop()
    late = windows.open()
    expect(titles(late)).to_have_text(["Buy coffee"])
    expect(status(late)).to_have_text("Connecting")
    expect(late.get_by_text("Snorky does not answer")).to_be_visible()

    demo.snorky.start()
    expect_live(one, late)
    add(one, "Buy tea")
    expect(titles(late)).to_have_text(["Buy coffee", "Buy tea"])


@in_common
def test_the_page_says_that_the_web_application_is_away_and_gets_over_it(
    demo: Any, one: Page, two: Page, windows: Any
) -> None:
    windows.expect("net::ERR_CONNECTION_REFUSED", "WebSocket connection to")
    add(one, "Buy coffee")
    demo.django.stop()
    field = one.get_by_label("New todo")
    field.fill("Buy tea")
    field.press("Enter")
    expect(one.get_by_role("alert")).to_contain_text("The web application does not answer.")
    expect(field).to_have_value("Buy tea")
    expect(status(one)).to_have_text("Live")

    demo.snorky.stop()
    field.press("Enter")
    expect(status(one)).to_have_text("Offline")
    expect(one.locator("#problem")).to_contain_text("does not answer. Trying again")
    expect(titles(one)).to_have_text(["Buy coffee"])

    demo.snorky.start()
    demo.django.start()
    expect_live(one, two)
    expect(one.locator("#problem")).to_be_hidden()
    field.press("Enter")
    expect(titles(two)).to_have_text(["Buy coffee", "Buy tea"])
    expect(one.get_by_role("alert")).to_be_hidden()


@in_common
def test_colours_follow_the_system_until_the_user_chooses(windows: Any, todo_page: str) -> None:
    light, dark = windows.open(color_scheme="light"), windows.open(color_scheme="dark")
    expect_live(light, dark)
    add(light, "Buy coffee", "Write to Ana", "Repair the bicycle")
    dark.get_by_role("checkbox", name="Buy coffee").click()
    expect(light.get_by_role("checkbox", name="Buy coffee")).to_be_checked()
    for name, page in (("light", light), ("dark", dark)):
        page.screenshot(path=RESULTS / f"todo-{todo_page}-{name}.png", animations="disabled")

    colour = "getComputedStyle(document.body).backgroundColor"
    dark_colour = dark.evaluate(colour)
    assert light.evaluate(colour) != dark_colour
    light.get_by_role("button", name="Dark colours").click()
    assert light.evaluate(colour) == dark_colour
    light.reload()
    expect_live(light)
    assert light.evaluate(colour) == dark_colour
    expect(light.get_by_role("button", name="Dark colours")).to_have_attribute(
        "aria-pressed", "true"
    )


@pytest.mark.parametrize(
    ("todo_page", "width"),
    [("plain", 390), *((page, 320) for page in TODO_PAGES)],
    indirect=["todo_page"],
)
def test_it_fits_a_phone(windows: Any, todo_page: str, width: int) -> None:
    phone = windows.open(viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True)
    expect_live(phone)
    add(phone, "A" * 100, "Write to Ana about the summer house and the keys")
    phone.get_by_role("checkbox", name="Write to Ana").tap()
    expect(phone.get_by_role("button", name="Clear completed")).to_be_visible()
    phone.screenshot(path=RESULTS / f"todo-{todo_page}-phone-{width}.png", animations="disabled")

    assert phone.evaluate("document.documentElement.scrollWidth") <= width
    for button in phone.get_by_role("listitem").get_by_role("button").all():
        expect(button).to_have_css("opacity", "1")  # there is nothing to hover with
        box = button.bounding_box()
        assert box is not None
        assert box["width"] >= 24
        assert box["height"] >= 24
        assert box["x"] + box["width"] <= width
