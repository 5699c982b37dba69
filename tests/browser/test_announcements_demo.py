"""The announcements, run as a person runs them: a terminal that publishes, pages that show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Windows
from tests.browser.one_program import DEMOS, Demo, expect_names, expect_to_fit
from tests.patience import patient
from tests.ports import free_ports

PUBLISH = [sys.executable, str(DEMOS / "announcements" / "publish.py")]
RECOVERY_MS = patient(40_000)


@pytest.fixture
def demo(run_program: Callable[..., Any], tmp_path: Path) -> Demo:
    (port,) = free_ports(1)
    options = ("--backend-port", str(port), "--data", str(tmp_path / "data"))
    return Demo("announcements", run_program, *options)


@pytest.fixture
def windows(browser: Browser, demo: Demo) -> Iterator[Windows]:
    windows = Windows(browser, demo.address)
    yield windows
    windows.close()


@pytest.fixture
def publish(demo: Demo, tmp_path: Path) -> Callable[..., None]:
    """``publish(text)``: what a person does in another terminal, with the key of this run."""

    def publish(text: str) -> None:
        settings = json.loads((tmp_path / "data" / "run.json").read_text())
        subprocess.run(
            [*PUBLISH, text], env={**os.environ, **settings}, check=True, timeout=patient(60)
        )

    return publish


def open_live(windows: Windows, **options: Any) -> Page:
    page = windows.open(**options)
    expect(page.get_by_role("status")).to_have_text("Live")
    return page


def test_everybody_hears_what_is_published_in_the_terminal(
    windows: Windows, publish: Callable[..., None]
) -> None:
    pages = [open_live(windows) for _ in range(2)]
    for page in pages:
        expect(page.get_by_text("Nothing has been announced yet.")).to_be_visible()
    publish("The doors are open")
    publish("<b>Lunch</b> é 😀")
    for page in pages:
        texts = page.get_by_role("listitem").get_by_role("paragraph")
        expect(texts).to_have_text(["<b>Lunch</b> é 😀", "The doors are open"])
        expect(page.get_by_text("Nothing has been announced yet.")).to_be_hidden()


def test_a_page_cannot_publish(windows: Windows) -> None:
    one, two = open_live(windows), open_live(windows)
    one.get_by_label("Announcement", exact=True).fill("The doors are closed")
    one.get_by_role("button", name="Announce").click()
    expect(one.get_by_role("alert")).to_contain_text("Refused: Not authorized.")
    for page in (one, two):
        expect(page.get_by_role("listitem")).to_have_count(0)


def test_pages_come_back_after_a_restart(
    windows: Windows, demo: Demo, publish: Callable[..., None]
) -> None:
    windows.expect("ERR_", "WebSocket connection to")
    page = open_live(windows)
    publish("Before")
    expect(page.get_by_role("listitem")).to_have_count(1)
    demo.stop()
    expect(page.get_by_role("status")).to_have_text("Reconnecting…", timeout=RECOVERY_MS)
    demo.start()
    expect(page.get_by_role("status")).to_have_text("Live", timeout=RECOVERY_MS)
    publish("After")
    expect(page.get_by_role("listitem")).to_have_count(2)


def run_publish(**env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SNORKY_")}
    command = [*PUBLISH, "Hello"]
    return subprocess.run(
        command,
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )


def test_the_key_is_asked_for_and_kept_for_its_owner(demo: Demo, tmp_path: Path) -> None:
    file = tmp_path / "data" / "run.json"
    assert file.stat().st_mode & 0o777 == 0o600
    url = json.loads(file.read_text())["SNORKY_BACKEND_URL"]
    result = run_publish(SNORKY_BACKEND_URL=url, SNORKY_API_KEY="a guess")
    assert (result.returncode, result.stderr) == (1, "Error from Snorky server: 401 Unauthorized\n")
    demo.stop()
    assert not file.exists()


def test_a_second_run_is_refused(
    demo: Demo, run_program: Callable[..., Any], tmp_path: Path
) -> None:
    """It would take the key of the first one away."""
    command = [sys.executable, str(DEMOS / "announcements" / "run.py"), "--no-browser"]
    second = run_program([*command, "--port", "0", "--data", str(tmp_path / "data")])
    assert second.end() == 1
    assert second.lines == [f"The demo runs already: open {demo.address}"]


def test_publishing_says_where_nothing_runs() -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/backend"
    result = run_publish(SNORKY_BACKEND_URL=url, SNORKY_API_KEY="swordfish")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr != ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(windows: Windows, publish: Callable[..., None], scheme: str) -> None:
    phone = open_live(windows, viewport={"width": 360, "height": 640}, color_scheme=scheme)
    expect_to_fit(phone, 360)
    expect_names(phone)
    publish("a word without an end" * 10)
    expect(phone.get_by_role("listitem")).to_have_count(1)
    expect_to_fit(phone, 360)
    background = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(243, 244, 240)", "dark": "rgb(20, 23, 26)"}[scheme]
