"""The page of the guide in a browser without WebSocket: it falls back, by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import listens, wait_for

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "examples" / "fallbacks"
PROGRAMS = [EXAMPLE / "live.py", Path(__file__).parent / "asgi_live.py"]


@pytest.mark.parametrize("program", PROGRAMS, ids=["tornado", "asgi"])
def test_the_page_of_the_guide(
    program: Path,
    browser: Browser,
    run_program: Callable[..., Any],
    on_free_ports: Callable[..., Any],
) -> None:
    page_file, ports = on_free_ports(EXAMPLE / "page.html")
    server_file = page_file.with_name("live.py")
    server_file.write_text(program.read_text().replace("5001", str(ports[5001])))
    server = run_program([sys.executable, "-W", "error", str(server_file)])
    wait_for(lambda: listens(ports[5001]), "the example listens")
    context = browser.new_context()
    windows = [context.new_page() for _ in range(3)]
    _, streaming, polling = windows
    streaming.add_init_script("delete window.WebSocket")
    polling.add_init_script("window.WebSocket = undefined")
    polling.route("**/comet/events?**", lambda route: route.abort())
    for window in windows:
        window.goto(f"http://localhost:{ports[5001]}/page.html")
        window.wait_for_function("snorky.isConnected")
    assert [window.evaluate("snorky.transport") for window in windows] == [
        "websocket",
        "sse",
        "polling",
    ]
    for number, window in enumerate(windows, 1):
        window.get_by_role("button").click()
        for other in windows:
            expect(other.locator("br")).to_have_count(number)
    for window in windows:
        for transport in ("websocket", "sse", "polling"):
            expect(window.locator("body")).to_contain_text(f"Hello by {transport}")
    context.close()
    assert [line for line in server.lines if "favicon" not in line] == []
