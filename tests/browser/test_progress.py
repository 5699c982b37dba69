"""Progress bars as people see them: each their own, on a phone, while a server is away."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Windows
from tests.patience import patient

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "test-results"
PROGRESS = ROOT / "demos" / "progress"
ANY_PORTS = ["--port", "0", "--snorky-port", "0", "--backend-port", "0"]
RECOVERY_MS = patient(40_000)
PAGE_OF_A_REFUSAL = "403 (Forbidden)"  # what Chromium's console says of it


@pytest.fixture
def demo(run_program: Callable[..., Any], tmp_path: Path) -> Any:
    command = [sys.executable, str(PROGRESS / "run.py"), "--no-browser", *ANY_PORTS]
    return run_program([*command, "--data", str(tmp_path / "data")])


@pytest.fixture
def windows(browser: Browser, demo: Any) -> Iterator[Windows]:
    address = demo.wait_for(r"Open (http://127\.0\.0\.1:\d+/) in two windows")[1]
    windows = Windows(browser, address)
    yield windows
    windows.close()


def start(page: Page, title: str) -> None:
    page.get_by_label("New job").fill(title)
    page.get_by_role("button", name="Start").click()
    expect(job(page, title)).to_be_visible()


def job(page: Page, title: str) -> Locator:
    return page.get_by_role("listitem").filter(has_text=title)


def percent(page: Page, title: str) -> Locator:
    return job(page, title).get_by_role("status")


def expect_progress(page: Page, title: str) -> None:
    """It goes on from where it is."""
    expect(percent(page, title)).not_to_have_text(percent(page, title).inner_text())


def expect_live(page: Page) -> None:
    expect(page.locator("#status")).to_have_text("Live", timeout=RECOVERY_MS)


def finish(page: Page, title: str) -> None:
    expect(percent(page, title)).to_have_text("100 %", timeout=patient(60_000))
    expect(job(page, title)).to_contain_text("Done")


def processes(demo: Any, name: str) -> list[int]:
    return [
        int(found[1])
        for line in demo.lines
        if (found := re.search(rf" *{name} \| .*kill (\d+)", line))
    ]


def kill(demo: Any, name: str) -> None:
    """``run.py`` starts it again at once."""
    before = processes(demo, name)
    os.kill(before[-1], signal.SIGKILL)
    demo.wait_for(rf" *{name} \| answers; .*kill (?!{before[-1]}$)\d+")


def test_each_window_sees_its_own_jobs_and_is_refused_the_others(windows: Windows) -> None:
    one, two = windows.open(), windows.open()
    for page in (one, two):
        expect_live(page)
    start(one, "Yearly report")
    start(two, "Other work")
    for page, title in ((one, "Yearly report"), (two, "Other work")):
        expect(page.get_by_role("listitem")).to_have_count(1)
        expect(percent(page, title)).not_to_have_text("0 %")

    number = re.search(r"number (\d+)", job(one, "Yearly report").inner_text())
    assert number is not None
    windows.expect(PAGE_OF_A_REFUSAL)
    two.get_by_label("Somebody else's job").fill(number[1])
    two.get_by_role("button", name="Watch").click()
    notice = f"Refused by the web application: /jobs/{number[1]}: 403 You may not connect"
    expect(two.get_by_role("alert")).to_contain_text(notice)

    finish(one, "Yearly report")
    finish(two, "Other work")
    expect(two.get_by_role("listitem")).to_have_count(1)
    one.reload()
    finish(one, "Yearly report")


def test_it_goes_on_when_a_server_was_started_again(windows: Windows, demo: Any) -> None:
    windows.expect("WebSocket connection to", "net::ERR", "503 (Service Unavailable)")
    page = windows.open()
    expect_live(page)
    for name in ("snorky", "django", "work"):
        start(page, name)
        expect_progress(page, name)
        kill(demo, name)
        expect_live(page)
        if percent(page, name).inner_text() != "100 %":
            expect_progress(page, name)
    for name in ("snorky", "django", "work"):
        finish(page, name)


def test_nobody_asks_how_far_a_job_is(windows: Windows) -> None:
    page = windows.open()
    expect_live(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    start(page, "Yearly report")
    finish(page, "Yearly report")  # after twenty updates at the least
    assert len(requests) <= 4, requests  # start it, connect, and ask once how far it is by now


def test_it_looks_good_in_both_colours_and_fits_a_phone(windows: Windows) -> None:
    for colours, width in (("light", 900), ("dark", 900), ("dark", 320)):
        page = windows.open(
            color_scheme=colours, viewport={"width": width, "height": 700}, is_mobile=width < 400
        )
        expect_live(page)
        start(page, "Yearly report")
        start(page, "A report with quite a long title " + "x" * 60)
        expect(percent(page, "Yearly report")).to_have_text(re.compile(r"[1-9]\d %"))
        page.screenshot(path=RESULTS / f"progress-{colours}-{width}.png", animations="disabled")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_ctrl_c_stops_all_three_programs(demo: Any) -> None:
    demo.wait_for("in two windows")
    assert demo.stop(signal.SIGINT) == 0
    assert demo.lines[-1] == "The demo has stopped."
    assert not any("Traceback" in line for line in demo.lines)
