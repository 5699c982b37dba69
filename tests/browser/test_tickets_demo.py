"""The tickets as people see them: rows move, edits are under way, a connection comes and goes."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Windows, wait_for
from tests.conftest import Program
from tests.patience import patient

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "test-results"
ANY_PORTS = ["--port", "0", "--snorky-port", "0", "--backend-port", "0"]
LISTS = ("urgent", "open", "doing", "done")
RECOVERY_MS = patient(40_000)


@contextmanager
def running(option: str) -> Iterator[Program]:
    run = str(ROOT / "demos" / "tickets" / "run.py")
    data = Path(tempfile.mkdtemp(prefix="snorky-tickets-"))  # its sockets need a short path,
    data.chmod(0o755)  # and PostgreSQL does not run as root
    options = [option] if option else []
    command = [sys.executable, run, "--no-browser", *ANY_PORTS, *options, "--data", str(data)]
    program = Program(command, {})
    try:
        yield program
        faults = [line for line in program.lines if re.search("WARNING|ERROR|Traceback", line)]
    finally:
        program.stop()
        shutil.rmtree(data, ignore_errors=True)
    assert not faults


@pytest.fixture(scope="module", params=["--sqlite"])
def demo(request: pytest.FixtureRequest) -> Iterator[Program]:
    with running(request.param) as program:
        yield program


def address_of(demo: Program) -> str:
    found: str = demo.wait_for(r"Open (http://127\.0\.0\.1:\d+/) in two windows")[1]
    return found


@pytest.fixture
def address(demo: Program) -> str:
    return address_of(demo)


@pytest.fixture
def windows(browser: Browser, address: str) -> Iterator[Windows]:
    windows = Windows(browser, address)
    yield windows
    windows.close()


def expect_live(*pages: Page) -> None:
    for page in pages:
        expect(page.locator("#status")).to_have_text("Live", timeout=RECOVERY_MS)


def titles(page: Page, name: str) -> list[str]:
    found: list[str] = page.locator(f"#{name} .title").evaluate_all(
        "inputs => inputs.map(input => input.value)"
    )
    return found


def card(page: Page, name: str, number: str) -> Locator:
    return page.locator(f"#{name} li").filter(has=page.get_by_text(number, exact=False))


def first(page: Page, name: str) -> str:
    """The number of a list's first ticket that is not urgent, as its card shows it: "#12 ·"."""
    calm = page.locator(f"#{name} li").filter(has=page.locator("[aria-pressed=false]"))
    return calm.first.locator(".number").inner_text().split("·")[0] + "·"


def count(page: Page, name: str) -> int:
    text = page.locator(f"#{name} .summary").inner_text()
    return int(text.split("·")[0].replace(",", ""))


def in_database(address: str, name: str, limit: int = 20) -> list[str]:
    with urlopen(f"{address}api/lists/{name}/?limit={limit}") as response:
        return [ticket["title"] for ticket in json.load(response)]


def test_a_ticket_moves_from_list_to_list_in_every_window(windows: Windows) -> None:
    one, two = windows.open(), windows.open()
    expect_live(one, two)
    number = first(one, "open")
    open_before, doing_before = count(one, "open"), count(one, "doing")
    card(one, "open", number).get_by_role("button", name="Start").click()
    for page in (one, two):
        expect(card(page, "doing", number)).to_be_visible()
        expect(card(page, "open", number)).to_have_count(0)
        expect(card(page, "doing", number)).to_contain_text(re.compile(r"\d ms"))
        expect(page.locator("#open .summary")).to_contain_text(f"{open_before - 1:,} ·")
        expect(page.locator("#doing .summary")).to_contain_text(f"{doing_before + 1:,} ·")

    # One ticket in two lists: a filter on two fields, beside one on one.
    card(two, "doing", number).get_by_role("button", name="Urgent").click()
    for page in (one, two):
        expect(card(page, "urgent", number)).to_be_visible()
    card(one, "urgent", number).get_by_role("button", name="Finish").click()
    for page in (one, two):
        expect(card(page, "done", number)).to_be_visible()
        expect(card(page, "urgent", number)).to_have_count(0)
    expect_live(one, two)


def test_an_edit_is_shown_before_the_slow_server_has_it_and_settles(windows: Windows) -> None:
    one, two = windows.open(), windows.open()
    expect_live(one, two)
    one.get_by_label("Slow server").check()
    number = first(one, "open")
    mine, theirs = card(one, "open", number), card(two, "open", number)
    before = theirs.get_by_label("Title").input_value()
    mine.get_by_label("Title").fill("The door sings")
    one.keyboard.press("Enter")
    expect(mine).to_have_attribute("aria-busy", "true")
    expect(mine.get_by_label("Title")).to_have_value("The door sings")
    assert theirs.get_by_label("Title").input_value() == before
    expect(theirs.get_by_label("Title")).to_have_value("The door sings")
    expect(mine).to_have_attribute("aria-busy", "false")
    expect(mine.get_by_label("Title")).to_have_value("The door sings")


def test_an_edit_that_is_refused_is_taken_back(windows: Windows) -> None:
    windows.expect("400 (Bad Request)")
    page = windows.open()
    expect_live(page)
    title = card(page, "open", first(page, "open")).get_by_label("Title")
    before = title.input_value()
    title.fill(" ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(
        "Not saved. A title needs at least one character."
    )
    expect(title).to_have_value(before)


def test_what_was_missed_offline_comes_when_the_page_is_back(windows: Windows) -> None:
    one, two = windows.open(), windows.open()
    expect_live(one, two)
    two.get_by_label("Connected").uncheck()
    expect(two.locator("#status")).to_have_text("Offline")
    number = first(one, "done")
    card(one, "done", number).get_by_role("button", name="Reopen").click()
    expect(card(one, "open", number)).to_be_visible()
    expect(card(two, "done", number)).to_be_visible()
    requests: list[str] = []
    two.on("request", lambda request: requests.append(request.url))
    two.get_by_label("Connected").check()
    expect_live(two)
    expect(card(two, "open", number)).to_be_visible()
    expect(card(two, "done", number)).to_have_count(0)
    # Snorky told what had changed: nobody asked for these lists again.
    assert not [url for url in requests if "/api/lists/" in url]


def test_a_thousand_tickets_move_in_one_step(windows: Windows, address: str) -> None:
    one, two = windows.open(), windows.open()
    expect_live(one, two)
    two.evaluate("""async () => {
        const { lists } = await import("/static/tickets/tickets.js");
        globalThis.wrong = [];
        for (const name of ["open", "doing", "done"])
            lists[name].changed.add(({ items }) =>
                wrong.push(...items.filter(({ status }) => status !== name)));
    }""")
    one.get_by_role("button", name="Move 1,000 tickets").click()
    expect(one.locator("#moved")).to_contain_text("Written and shown after", timeout=RECOVERY_MS)
    for page in (one, two):
        for name in LISTS:
            wanted = in_database(address, name)
            wait_for(lambda page=page, name=name, wanted=wanted: titles(page, name) == wanted, name)
        expect_live(page)
    assert two.evaluate("wrong") == []
    with urlopen(f"{address}api/summary/") as response:
        for numbers in json.load(response):
            summary = one.locator(f"#{numbers['list']} .summary")
            expect(summary).to_contain_text(f"{numbers['count']:,} · ⌀ {numbers['hours']:.2f} h")


def test_a_page_of_all_tickets_is_live_too(windows: Windows, address: str) -> None:
    page = windows.open()
    expect_live(page)
    expect(page.locator("#all li")).to_have_count(10)
    page.locator("#next").click()
    expect(page.locator("#all li").first).to_contain_text("#11")
    expect(page.locator("#page-number")).to_have_text("2 of 400")
    body = json.dumps({"title": "The door sings"}).encode()
    headers = {"Content-Type": "application/json"}
    urlopen(Request(f"{address}api/tickets/12/", body, headers, method="PATCH")).close()
    expect(page.locator("#all li").nth(1)).to_contain_text("The door sings")
    page.locator("#previous").click()
    expect(page.locator("#all li").first).to_contain_text("#1The")


def test_more_of_a_list_is_shown_when_asked_for(windows: Windows, address: str) -> None:
    page = windows.open()
    expect_live(page)
    expect(page.locator("#open li")).to_have_count(20)
    page.locator("#open .more").click()
    expect(page.locator("#open li")).to_have_count(40)
    assert titles(page, "open") == in_database(address, "open", 40)


def find(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Filter").fill(text)
    page.get_by_role("button", name="Find").click()


def found_by(address: str, text: str, limit: int) -> list[str]:
    with urlopen(
        f"{address}api/lists/all/?{urlencode({'filter': text, 'limit': limit})}"
    ) as answer:
        return [ticket["title"] for ticket in json.load(answer)]


def test_a_filter_of_ones_own_is_a_live_list_and_its_faults_are_shown(
    windows: Windows, address: str
) -> None:
    windows.expect("400 (Bad Request)")
    page = windows.open()
    expect_live(page)
    text = '["and", ["startswith", "title", "The lift"], ["<", "hours", 9]]'
    find(page, text)
    wait_for(lambda: titles(page, "found") == found_by(address, text, 50), "the tickets found")
    expect_live(page)
    number = page.locator("#found .number").first.inner_text().split("·")[0] + "·"
    card(page, "found", number).get_by_label("Title").fill("The door sings")
    page.keyboard.press("Enter")
    expect(card(page, "found", number)).to_have_count(0)

    error = page.locator("#filter-error")
    find(page, '["and", ["==", "status", "open"], ["above", "hours", 3]]')
    expect(error).to_contain_text("unknown operator 'above'")
    expect(error.locator("mark")).to_have_text('["above","hours",3]')
    expect(page.locator("#found li")).to_have_count(0)
    find(page, '["==", "status",')
    expect(error).to_contain_text("This is no JSON")
    find(page, '["==", "status", "done"]')
    expect(error).to_be_empty()
    wait_for(lambda: titles(page, "found") == in_database(address, "done", 50), "what is done")
    expect_live(page)


def test_who_scrolls_is_shown_more_of_what_was_found(windows: Windows, address: str) -> None:
    page = windows.open()
    text = '["in", "status", ["open", "doing"]]'
    find(page, text)
    items = page.locator("#found li:not(.end)")
    expect(items).to_have_count(50)
    expect(page.locator("#found-count")).to_have_text("50 shown, more below")
    for count in (100, 150):
        page.locator("#found").evaluate("list => list.scrollTo(0, list.scrollHeight)")
        expect(items).to_have_count(count)
    expect_live(page)
    assert titles(page, "found") == found_by(address, text, 150)


@pytest.fixture
def lonely_windows(browser: Browser) -> Iterator[Windows]:
    """Of a demo that had no others: their filters are kept a while."""
    with running("--sqlite") as demo:
        windows = Windows(browser, address_of(demo))
        yield windows
        windows.close()


def test_the_panel_tells_what_the_index_does_for_a_change(lonely_windows: Windows) -> None:
    page = lonely_windows.open()
    expect_live(page)
    find(page, '["==", "status", "doing"]')
    page.get_by_text("How Snorky finds who is told").click()
    expect(page.locator("#explain-filter")).to_have_text("Your filter is found by status ==.")
    number = first(page, "open")
    card(page, "open", number).get_by_role("button", name="Start").click()
    expect(page.locator("#explain-ticket")).to_have_text(number.split()[0])
    expect(page.locator("#explain-facts")).to_contain_text("doing")
    expect(page.locator("#explain-hits")).to_have_text("1")  # yours, and Doing: one filter
    expect(page.locator("#explain-time")).to_contain_text("µs")
    find(page, '["not", ["==", "status", "doing"]]')
    expect(page.locator("#explain-filter")).to_contain_text("checked for every change")


def test_it_looks_good_in_both_colours_and_fits_a_phone(windows: Windows) -> None:
    for colours, width in (("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)):
        page = windows.open(
            color_scheme=colours, viewport={"width": width, "height": 800}, is_mobile=width < 400
        )
        expect_live(page)
        page.get_by_text("How Snorky finds who is told").click()
        page.get_by_label("Others at work").check()
        expect(page.locator("#latency")).to_contain_text(re.compile(r"drawn \d+ ms after"))
        page.get_by_label("Others at work").uncheck()
        page.screenshot(path=RESULTS / f"tickets-{colours}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("demo", ["--sqlite", ""], indirect=True, ids=["SQLite", "PostgreSQL"])
def test_what_is_typed_as_sql_moves_the_tickets_of_every_window(windows: Windows) -> None:
    windows.expect("400 (Bad Request)")
    one, two = windows.open(), windows.open()
    expect_live(one, two)
    number = first(two, "open")
    key = re.sub(r"\D", "", number)
    moved = f"SET status = 'doing', changed = CURRENT_TIMESTAMP WHERE id = {key}"
    one.get_by_role("textbox", name="SQL").fill(f"UPDATE tickets_ticket {moved}")
    one.get_by_role("button", name="Run").click()
    expect(one.locator("#sql output")).to_have_text("1 rows")
    for page in (one, two):
        expect(card(page, "doing", number)).to_be_visible()
        expect(card(page, "open", number)).to_have_count(0)
    one.get_by_role("textbox", name="SQL").fill("UPDATE nothing")
    one.get_by_role("button", name="Run").click()
    expect(one.locator("#sql output")).to_contain_text("syntax error")
