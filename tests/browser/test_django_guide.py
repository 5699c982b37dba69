"""The page of the manual's Django project, in a real browser, through an outage of Snorky."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from tests.patience import patient

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "examples" / "django"
ENV = {"SNORKY_API_KEY": "swordfish"}


def test_two_windows_stay_equal_and_catch_up_after_a_restart(
    browser: Browser,
    serve: Callable[..., Any],
    run_program: Callable[..., Any],
    tmp_path: Path,
) -> None:
    snorky = serve(EXAMPLE / "live.py")
    ports = ("--port", str(snorky.port), "--backend-port", str(snorky.backend_port))
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("tasks/settings.py", "tasks/templates/tasks.html"):
        text = (folder / file).read_text().replace("5001", ports[1])
        (folder / file).write_text(text.replace("5002", ports[3]))

    def manage(*arguments: str) -> Any:
        return run_program([sys.executable, "manage.py", *arguments], cwd=folder, **ENV)

    assert manage("makemigrations", "tasks").end() == 0
    assert manage("migrate").end() == 0
    django = manage("runserver", "--noreload", "127.0.0.1:0")
    port = django.wait_for(r"server at http://127\.0\.0\.1:(\d+)/")[1]

    one, two = browser.new_page(), browser.new_page()
    for page in (one, two):
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator("#status")).to_have_text("live")
    one.get_by_label("Title").fill("Write")
    one.get_by_role("button").click()
    for page in (one, two):
        expect(page.get_by_role("listitem")).to_have_text(["Write"])
    two.get_by_role("checkbox").click()
    for page in (one, two):
        expect(page.get_by_role("checkbox")).to_be_checked()

    assert snorky.stop() == 0
    expect(two.locator("#status")).to_have_text("reconnecting")
    one.get_by_label("Title").fill("Read")
    one.get_by_role("button").click()
    django.wait_for("1 deltas not published")
    late = browser.new_page()  # opened while Snorky is away: the list, but no token
    late.goto(f"http://127.0.0.1:{port}/")
    expect(late.locator("#status")).to_have_text("catching-up")
    serve(EXAMPLE / "live.py", *ports)
    for page in (one, two, late):
        expect(page.locator("#status")).to_have_text("live", timeout=patient(40_000))
        expect(page.get_by_role("listitem")).to_have_text(["Write", "Read"])
