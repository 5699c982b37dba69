"""The page of the manual's chapter on DataSync, in a real browser, through a restart of Snorky."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from tests.browser.conftest import listens, wait_for
from tests.ports import free_port

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples" / "datasync"
SECONDS = 40_000  # in milliseconds: a page that comes back waits a while before it tries


def test_two_windows_stay_equal_and_catch_up_after_a_restart(
    browser: Browser,
    serve: Callable[..., Any],
    run_program: Callable[..., Any],
    tmp_path: Path,
) -> None:
    snorky = serve(EXAMPLES / "live.py")
    ports = ("--port", str(snorky.port), "--backend-port", str(snorky.backend_port))
    port = free_port()
    for name in ("website.py", "page.html"):
        text = (EXAMPLES / name).read_text().replace("5001", ports[1]).replace("5002", ports[3])
        (tmp_path / name).write_text(text.replace("8000", str(port)))
    command = [sys.executable, "website.py"]
    website = run_program(command, cwd=tmp_path, SNORKY_API_KEY="swordfish")
    wait_for(lambda: listens(port), "the web application listens")

    def order(page: Any, item: str) -> None:
        page.get_by_label("Order").fill(item)
        page.get_by_role("button", name="Order").click()

    one, two = browser.new_page(), browser.new_page()
    for page in (one, two):
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator("#status")).to_have_text("Live", timeout=SECONDS)
    order(one, "Tea")
    order(two, "Cake")
    two.get_by_label("Dish").fill("Crumpets")
    two.get_by_role("button", name="Change").click()
    for page in (one, two):
        expect(page.get_by_role("listitem")).to_have_count(2, timeout=SECONDS)
        expect(page.locator("#dish")).to_have_text("Crumpets", timeout=SECONDS)
        expect(page.get_by_role("listitem").filter(has_text="Invalid Date")).to_have_count(0)
    one.get_by_role("listitem").filter(has_text="Tea").get_by_role("button").click()
    for page in (one, two):
        expect(page.get_by_role("listitem")).to_have_count(1, timeout=SECONDS)
        expect(page.get_by_role("listitem")).to_contain_text("Cake")

    assert snorky.stop() == 0
    expect(two.locator("#status")).to_have_text("Reconnecting", timeout=SECONDS)
    order(one, "Jam")
    website.wait_for("A delta was lost")
    late = browser.new_page()  # opened while Snorky is away: the list, but no token
    late.goto(f"http://127.0.0.1:{port}/")
    expect(late.locator("#status")).to_contain_text("trying again", timeout=SECONDS)
    serve(EXAMPLES / "live.py", *ports)
    for page in (one, two, late):
        expect(page.locator("#status")).to_have_text("Live", timeout=SECONDS)
        expect(page.get_by_role("listitem")).to_have_count(2, timeout=SECONDS)
        expect(page.get_by_role("listitem").last).to_contain_text("Jam")
