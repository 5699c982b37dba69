"""Cookies, pages of other origins and many windows, by Server-Sent Events and by long polling."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "snorky" / "static" / "snorky.js"
# The first is of another port than the server, the second of another host.
OURS = "http://127.0.0.1:8000"
FOREIGN = "http://elsewhere.localhost:8000"

PAGE = """<!DOCTYPE html><body>
<script src="/snorky.js"></script>
<script>
  const snorky = new Snorky(undefined, ADDRESS, {names: Snorky.RPCService}, {
    transports: [TRANSPORT], cometAddress: ADDRESS, reconnect: false,
  });
  let ended = false;
  snorky.disconnected.add(() => { ended = true; });
</script>
"""


@pytest.fixture
def address(run_program: Callable[..., Any]) -> str:
    program = run_program([sys.executable, str(Path(__file__).parent / "comet_server.py")])
    port = program.wait_for(r"port (\d+)")[1]
    return f"http://127.0.0.1:{port}/comet"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.add_cookies([{"name": "user", "value": "alice", "url": "http://127.0.0.1"}])
    yield context
    context.close()


def open_page(context: BrowserContext, origin: str, transport: str, address: str) -> Page:
    text = PAGE.replace("TRANSPORT", json.dumps(transport))
    text = text.replace("ADDRESS", json.dumps(address))
    page = context.new_page()
    page.route(origin + "/", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.route(
        origin + "/snorky.js",
        lambda route: route.fulfill(path=SCRIPT, content_type="text/javascript"),
    )
    page.goto(origin + "/")
    return page


@pytest.mark.parametrize("transport", ["sse", "polling"])
def test_a_page_is_who_its_cookie_says_and_foreign_pages_cannot_use_it(
    context: BrowserContext, address: str, transport: str
) -> None:
    page = open_page(context, OURS, transport, address)
    page.wait_for_function("snorky.isConnected")
    assert page.evaluate("snorky.services.names.rpcCall('mine', {})") == "alice"

    foreign = open_page(context, FOREIGN, transport, address)
    foreign.wait_for_function("ended")
    # Requests without CORS arrive, answers or not: they must do nothing.
    foreign.evaluate(
        "address => fetch(address, {method: 'POST', mode: 'no-cors', credentials: 'include'})",
        address,
    )
    assert page.evaluate("snorky.services.names.rpcCall('all', {})") == ["alice"]

    context.clear_cookies()
    nobody = open_page(context, OURS, transport, address)
    nobody.wait_for_function("ended")


@pytest.mark.parametrize("transport", ["sse", "polling"])
def test_as_many_windows_as_a_browser_has_connections_hear_and_are_heard(
    context: BrowserContext, address: str, transport: str
) -> None:
    """By HTTP/1.1 it has six to a host: each of these windows keeps one to hear by."""
    windows = [open_page(context, OURS, transport, address) for _ in range(6)]
    for window in windows:
        window.wait_for_function("snorky.isConnected")
    for window in windows:
        window.evaluate(
            "void snorky.services.names.rpcCall('mine', {}).then((me) => { who = me; })"
        )
    for window in windows:
        window.wait_for_function("globalThis.who === 'alice'")
