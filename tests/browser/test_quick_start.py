"""The first page of the README in a real browser, served by ``snorky serve`` itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from tests.patience import patient

QUICK_START = Path(__file__).parent.parent.parent / "docs" / "examples" / "quickstart"


def test_two_windows_of_the_first_page_and_a_restart(
    browser: Browser, serve: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> None:
    page_file, port_of = on_free_ports(QUICK_START / "page.html")
    ports = ("--port", str(port_of[5001]), "--backend-port", "0", "--page", str(page_file))
    server = serve(QUICK_START / "live.py", *ports)
    server.wait_for("serves clients")
    one, two = browser.new_page(), browser.new_page()
    for page in (one, two):
        page.goto(f"http://localhost:{port_of[5001]}/")
        page.wait_for_function("snorky.isConnected")
    one.get_by_role("button").click()
    for page in (one, two):
        expect(page.locator("body")).to_contain_text("Hello at")

    assert server.stop() == 0
    serve(QUICK_START / "live.py", *ports).wait_for("serves clients")
    for page in (one, two):
        page.wait_for_function("snorky.isConnected", timeout=patient(30_000))
    two.get_by_role("button").click()
    for page in (one, two):
        expect(page.locator("br")).to_have_count(2)


def test_the_page_of_the_announcements(
    browser: Browser, serve: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> None:
    examples = QUICK_START.parent
    page_file, port_of = on_free_ports(examples / "announcements.html")
    ports = ("--port", str(port_of[5001]), "--backend-port", "0", "--page", str(page_file))
    server = serve(examples / "announcements.py", *ports)
    page = browser.new_page()
    server.wait_for("serves clients")
    page.goto(f"http://localhost:{port_of[5001]}/")
    page.wait_for_function("announcements.snorky.isConnected")
    env = {**os.environ, "SNORKY_BACKEND_URL": server.backend_url, "SNORKY_API_KEY": "swordfish"}
    command = [sys.executable, str(examples / "announce.py"), "Dinner is ready"]
    subprocess.run(command, env=env, check=True, timeout=patient(30))
    expect(page.locator("body")).to_contain_text("Dinner is ready")


def test_a_refused_subscription_that_the_page_does_not_handle_is_reported(
    browser: Browser, serve: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> None:
    page_file, port_of = on_free_ports(QUICK_START / "page.html")
    ports = ("--port", str(port_of[5001]), "--backend-port", "0", "--page", str(page_file))
    serve(QUICK_START / "live.py", *ports).wait_for("serves clients")
    page = browser.new_page()
    page.goto(f"http://localhost:{port_of[5001]}/")
    page.wait_for_function("snorky.isConnected")
    for command in ("subscribe", "unsubscribe"):
        with page.expect_event("pageerror") as reported:
            page.evaluate(f"() => {{ pubsub.{command}({{chanel: 'news'}}); }}")
        assert reported.value.message == "Invalid params"
