"""The program of the page on React, bundled as readers do it, with the manual's Django project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import REACT, ROOT, Windows, wait_for
from tests.patience import patient

EXAMPLES = ROOT / "docs" / "examples"
ESBUILD = ROOT / "client" / "node_modules" / ".bin" / "esbuild"
PAGE = (
    '{% load static %}<!DOCTYPE html><html lang="en"><title>Tasks</title>'
    '<link rel="icon" href="data:,"><div id="root"></div>'
    '<script type="module" src="{% static "main.js" %}"></script>'
)
ALIASES = {18: ["react=react-18", "react-dom=react-dom-18"], 19: []}
RECOVERY_MS = patient(40_000)


def bundle(program: Path, version: int, target: Path) -> None:
    """Of the development build, which complains of what is done wrong."""
    aliases = [f"snorky={ROOT / 'snorky/static/snorky.mjs'}", *ALIASES[version]]
    options = [f"--alias:{alias}" for alias in aliases]
    options += ["--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning"]
    options += ['--define:process.env.NODE_ENV="development"', f"--outfile={target}"]
    subprocess.run(
        [str(ESBUILD), str(program), *options],
        cwd=REACT.parent,
        env={**os.environ, "NODE_PATH": str(REACT)},
        check=True,
        timeout=patient(60),
    )


class Site:
    """The Django project with a page of React's, and Snorky."""

    def __init__(self, folder: Path, serve: Callable[..., Any], run: Callable[..., Any]) -> None:
        self._serve = serve
        self.snorky = serve(EXAMPLES / "django" / "live.py")
        ports = {"5001": str(self.snorky.port), "5002": str(self.snorky.backend_port)}
        self._ports = ("--port", ports["5001"], "--backend-port", ports["5002"])
        shutil.copytree(EXAMPLES / "django", folder, ignore=shutil.ignore_patterns("__pycache__"))
        settings = folder / "tasks" / "settings.py"
        settings.write_text(settings.read_text().replace("5002", ports["5002"]))
        (folder / "tasks" / "templates" / "tasks.html").write_text(PAGE)
        self._static = folder / "tasks" / "static"
        self._static.mkdir()  # Django looks at its start whether there is one

        def manage(*arguments: str) -> Any:
            command = [sys.executable, "manage.py", *arguments]
            return run(command, cwd=folder, SNORKY_API_KEY="swordfish")

        assert manage("makemigrations", "tasks").end() == 0
        assert manage("migrate").end() == 0
        self.django = manage("runserver", "--noreload", "127.0.0.1:0")
        self.address = self.django.wait_for(r"server at (http://127\.0\.0\.1:\d+/)")[1]

    def show(self, program: Path, version: int) -> None:
        script = self._static / "main.js"
        bundle(program, version, script)
        script.write_text(script.read_text().replace("5001", self._ports[1]))

    def start_snorky(self) -> None:
        self.snorky = self._serve(EXAMPLES / "django" / "live.py", *self._ports)


@pytest.fixture
def site(serve: Callable[..., Any], run_program: Callable[..., Any], tmp_path: Path) -> Site:
    return Site(tmp_path / "project", serve, run_program)


@pytest.fixture
def windows(browser: Browser, site: Site) -> Iterator[Windows]:
    windows = Windows(browser, site.address)
    yield windows
    windows.close()


def expect_live(*pages: Page) -> None:
    for page in pages:
        expect(page.get_by_role("status")).to_have_text("live", timeout=RECOVERY_MS)


def add(page: Page, title: str) -> None:
    page.get_by_label("Title").fill(title)
    page.get_by_role("button", name="Add").click()


@pytest.mark.parametrize("version", ALIASES)
def test_two_windows_stay_equal_and_catch_up_after_a_restart(
    site: Site, windows: Windows, version: int
) -> None:
    windows.expect("WebSocket connection to")
    site.show(EXAMPLES / "react" / "main.jsx", version)
    one, two = windows.open(), windows.open()
    expect_live(one, two)
    add(one, "Write")
    for page in (one, two):
        expect(page.get_by_role("listitem")).to_have_text(["Write"])
    two.get_by_role("checkbox", name="Write").click()
    for page in (one, two):
        expect(page.get_by_role("checkbox", name="Write")).to_be_checked()

    assert site.snorky.stop() == 0
    expect(two.get_by_role("status")).to_have_text("reconnecting")
    add(one, "Read")
    site.django.wait_for("1 deltas not published")
    late = windows.open()  # opened while Snorky is away: the list, but no token
    expect(late.get_by_role("status")).to_have_text("catching-up")
    expect(late.get_by_role("listitem")).to_have_text(["Write", "Read"])
    site.start_snorky()
    expect_live(one, two, late)
    for page in (one, two, late):
        expect(page.get_by_role("listitem")).to_have_text(["Write", "Read"])


def test_a_list_that_is_taken_off_the_page_is_no_longer_subscribed_to(
    site: Site, windows: Windows
) -> None:
    site.show(ROOT / "tests" / "react" / "leaving.jsx", 19)
    page = windows.open()
    sent: list[Any] = []

    def note(text: str | bytes) -> None:
        if text:  # else a sign of life, on a machine where this takes that long
            sent.append(json.loads(text)["message"])

    page.on("websocket", lambda socket: socket.on("framesent", note))
    page.reload()
    expect_live(page)
    page.get_by_role("checkbox").click()
    expect(page.get_by_role("status")).to_have_count(0)

    def calls() -> list[str]:
        page.evaluate("0")  # lets the events in
        return [each["command"] for each in sent]

    wait_for(lambda: "closeSubscriptions" in calls(), "the subscription is closed")
    # Who was away for a moment has opened it again.
    assert calls() == ["openSubscriptions"] * (len(sent) - 1) + ["closeSubscriptions"]
    page.get_by_role("checkbox").click()
    expect_live(page)


def test_a_list_is_an_external_store_of_reacts_without_an_adapter(
    site: Site, windows: Windows
) -> None:
    site.show(ROOT / "tests" / "react" / "store.jsx", 18)
    page = windows.open()
    expect_live(page)
    page.evaluate("""() => fetch("/api/tasks/", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: '{"title": "Write"}',
    })""")
    expect(page.get_by_role("listitem")).to_have_text(["Write"])
    # Each state is drawn twice in strict mode: nothing is drawn where nothing is different.
    assert page.evaluate("drawn") <= 2 * len(["loading", "catching-up", "live", "the row"])
