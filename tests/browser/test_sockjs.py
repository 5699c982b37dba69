"""SockJS in a real browser, by every transport that a browser of today has: one story."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from websockets.sync.client import connect

from tests.browser.conftest import wait_for

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "sockjs"
SOCKJS = ROOT / "tests" / "sockjs_client" / "node_modules" / "sockjs-client" / "dist"
SNORKY = ROOT / "snorky" / "static" / "snorky.js"

# As far as they exist: htmlfile needs a page of the server's own origin, which iframes give it.
TRANSPORTS = ["websocket", "xhr-streaming", "eventsource", "xhr-polling", "jsonp-polling"]
IFRAMES = ["iframe-eventsource", "iframe-htmlfile", "iframe-xhr-polling"]

PAGE = """<!DOCTYPE html><body>
<script src="/sockjs.js"></script><script src="/snorky.js"></script>
<script>
  function Socket(address) {
    window.socket = new SockJS(address, null, {transports: [TRANSPORT]});
    socket.addEventListener("close", ({code, reason}) => closings.push([code, reason]));
    return socket;
  }
  const messages = [], closings = [];
  const snorky = new Snorky(Socket, ADDRESS, {pubsub: Snorky.PubSub});
  const pubsub = snorky.services.pubsub;
  pubsub.messagePublished.add(({message}) => messages.push(message));
  const subscribed = pubsub.subscribe({channel: "news"});
</script>
"""


def from_file(file: Path) -> Callable[[Route], None]:
    assert file.exists(), "install the SockJS client: npm ci in tests/sockjs_client"
    return lambda route: route.fulfill(path=file, content_type="text/javascript")


@pytest.fixture
def port(run_program: Callable[..., Any]) -> int:
    program = run_program([sys.executable, str(Path(__file__).parent / "sockjs_server.py")])
    return int(program.wait_for(r"port (\d+)")[1])


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.route("https://cdn.jsdelivr.net/**", from_file(SOCKJS / "sockjs.min.js"))
    yield context
    context.close()


def open_page(context: BrowserContext, origin: str, transport: str, port: int) -> Page:
    """A page of another port than the server's: all that it does is cross-origin."""
    text = PAGE.replace("TRANSPORT", json.dumps(transport))
    text = text.replace("ADDRESS", json.dumps(f"http://127.0.0.1:{port}/sockjs"))
    page = context.new_page()
    page.route(origin + "/", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.route(origin + "/sockjs.js", from_file(SOCKJS / "sockjs.js"))
    page.route(origin + "/snorky.js", from_file(SNORKY))
    page.goto(origin + "/")
    return page


def visitors(port: int) -> int:
    """How many clients the server has, ourselves not counted."""
    with connect(f"ws://127.0.0.1:{port}/sockjs/websocket") as socket:
        message = {"command": "count", "params": {}, "callId": 0}
        socket.send(json.dumps({"service": "visitors", "message": message}))
        count: int = json.loads(socket.recv(10))["message"]["data"]
        return count - 1


@pytest.mark.parametrize("transport", TRANSPORTS + IFRAMES)
def test_a_page_calls_hears_in_order_and_is_missed(
    context: BrowserContext, port: int, transport: str
) -> None:
    page = open_page(context, "http://127.0.0.1:8000", transport, port)
    page.wait_for_function("snorky.isConnected")
    assert page.evaluate("socket.transport") == transport
    assert page.evaluate("subscribed") is None
    assert visitors(port) == 1

    page.evaluate(
        """async () => {
            for (let n = 0; n < 20; n++) await pubsub.publish({channel: "news", message: n});
            pubsub.publish({channel: "news", message: "100% </script> \\u2028 \\0 é 😀"});
        }"""
    )
    page.wait_for_function("messages.length == 21")
    assert page.evaluate("messages") == [*range(20), "100% </script> \u2028 \0 é 😀"]

    page.close()
    wait_for(lambda: visitors(port) == 0, "the server notices that the page has gone", 10)


@pytest.mark.parametrize("transport", TRANSPORTS + IFRAMES)
def test_a_page_of_a_foreign_origin_gets_nowhere(
    context: BrowserContext, port: int, transport: str
) -> None:
    page = open_page(context, "http://elsewhere.localhost:8000", transport, port)
    page.wait_for_function("closings.length > 0")
    assert page.evaluate("closings[0]") == [1002, "Cannot connect to server"]
    assert visitors(port) == 0


def test_a_foreign_page_cannot_come_through_the_iframe_page(
    context: BrowserContext, port: int
) -> None:
    """It would speak to the server from the server's own origin."""
    page = context.new_page()
    origin = "http://elsewhere.localhost:8000"
    page.route(origin + "/", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(origin + "/")
    with page.expect_console_message(lambda line: "frame-ancestors" in line.text):
        page.evaluate(
            """address => {
                const frame = document.createElement("iframe");
                frame.src = address;
                document.documentElement.append(frame);
            }""",
            f"http://127.0.0.1:{port}/sockjs/iframe.html",
        )


def test_the_page_of_the_guide(
    context: BrowserContext,
    run_program: Callable[..., Any],
    on_free_ports: Callable[..., Any],
) -> None:
    page_file, ports = on_free_ports(EXAMPLE / "page.html")
    server_file = page_file.with_name("live.py")
    server_file.write_text((EXAMPLE / "live.py").read_text().replace("5001", str(ports[5001])))
    server = run_program([sys.executable, "-W", "error", str(server_file)])
    wait_for(lambda: is_served(ports[5001]), "the example listens")
    # The second window comes by HTTP alone.
    one, two = context.new_page(), context.new_page()
    two.add_init_script("delete window.WebSocket")
    for page in (one, two):
        page.goto(f"http://localhost:{ports[5001]}/page.html")
        page.wait_for_function("snorky.isConnected")
    one.get_by_role("button").click()
    two.get_by_role("button").click()
    for page in (one, two):
        expect(page.locator("br")).to_have_count(2)
        expect(page.locator("body")).to_contain_text("Hello at")
    assert [line for line in server.lines if "favicon" not in line] == []


def is_served(port: int) -> bool:
    try:
        with connect(f"ws://127.0.0.1:{port}/ws"):
            return True
    except OSError:
        return False
