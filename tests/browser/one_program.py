"""What the tests of the demos that are one program have in common: how a person runs them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
DEMOS = ROOT / "demos"
RESULTS = ROOT / "test-results"
ADDRESS = r"Open (http://127\.0\.0\.1:(\d+)/) in two windows"


class Demo:
    """``run.py`` of a demo, always at the same port; it can be stopped and started again."""

    def __init__(self, name: str, run_program: Callable[..., Any], *options: str) -> None:
        (port,) = free_ports(1)
        command = [sys.executable, "-W", "error", str(DEMOS / name / "run.py"), "--no-browser"]
        self._command = [*command, "--port", str(port), *options]
        self._run_program = run_program
        self.address = f"http://127.0.0.1:{port}/"
        self.start()

    def start(self) -> None:
        self.program = self._run_program(self._command)
        assert self.program.wait_for(ADDRESS)[1] == self.address

    def stop(self) -> None:
        """It says that it has stopped, and nothing that it should not."""
        assert self.program.stop() == 0
        assert self.program.lines[-1] == "The demo has stopped.", self.program.lines
        assert not [line for line in self.program.lines if "Traceback" in line or "ERROR" in line]


def expect_to_fit(page: Page, width: int) -> None:
    """Nothing is cut off, and nothing has to be scrolled to the side."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = """() => [...document.querySelectorAll("button, input, h1, h2, p, li")].filter(each => {
      const {right, width} = each.getBoundingClientRect();
      return width > 0 && right > innerWidth + 0.5;
    }).map(each => each.outerHTML)"""
    assert page.evaluate(cut) == []


def expect_names(page: Page) -> None:
    """Whatever a visitor can use has a name for those who cannot see it."""
    nameless = """() => [...document.querySelectorAll("button, input, a, [tabindex]")].filter(
      each =>
      !(each.textContent.trim() || each.ariaLabel || each.labels?.length
        || each.getAttribute("aria-labelledby"))
    ).map(each => each.outerHTML)"""
    assert page.evaluate(nameless) == []
