"""The Socket.IO client in a real browser, by each transport and from one to the other.

One server speaks for its services at its root, for a class without services at ``/echo``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route

from tests.browser.conftest import wait_for
from tests.ports import free_ports

ROOT = Path(__file__).parent.parent.parent
SOCKETIO = ROOT / "tests" / "socketio" / "node_modules" / "socket.io-client" / "dist"
SERVER = Path(__file__).parent / "socketio_server.py"
OURS = "http://127.0.0.1:8000"
FOREIGN = "http://elsewhere.localhost:8000"

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}

PAGE = """<!DOCTYPE html><body>
<script src="/socket.io.js"></script>
<script>
  const messages = [], refusals = [];
  const socket = io(ADDRESS, OPTIONS);
  let connections = 0;
  socket.on("connect", async () => {
    if (SERVICES) await call("pubsub", "subscribe", {channel: "news"});
    connections += 1;
  });
  socket.on("connect_error", ({message}) => refusals.push(message));
  socket.on("pubsub", ({message}) => messages.push(message));
  socket.on("message", (message) => messages.push(message));
  const call = async (service, command, params) =>
    (await socket.timeout(10_000).emitWithAck(service, {command, params})).data;
  const publish = (message) => call("pubsub", "publish", {channel: "news", message});
</script>
"""
TEXT = "100% </script> \u2028 \0 é 😀"


@pytest.fixture
def port() -> int:
    (port,) = free_ports(1)
    return port


@pytest.fixture
def start(run_program: Callable[..., Any], port: int) -> Callable[[], Any]:
    def start() -> Any:
        command = [sys.executable, "-W", "error", str(SERVER), str(port)]
        program = run_program(command, PYTHONPATH=os.fspath(ROOT))
        program.wait_for(r"port (\d+)")
        return program

    return start


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


def open_page(context: BrowserContext, address: str, *, origin: str = OURS, **options: Any) -> Page:
    """A page of another port than the server's: all that it does is cross-origin."""
    options = {key: value for key, value in options.items() if value is not None}
    options |= {"reconnectionDelay": 100, "reconnectionDelayMax": 500}
    text = PAGE.replace("ADDRESS", json.dumps(address)).replace("OPTIONS", json.dumps(options))
    text = text.replace("SERVICES", json.dumps("path" not in options))
    assert SOCKETIO.is_dir(), "install the Socket.IO client: npm ci in tests/socketio"

    def script(route: Route) -> None:
        route.fulfill(path=SOCKETIO / "socket.io.js", content_type="text/javascript")

    page = context.new_page()
    page.route(origin + "/", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.route(origin + "/socket.io.js", script)
    page.goto(origin + "/")
    return page


def wait_until_connected(page: Page, transport: str, connections: int = 1) -> None:
    name = "polling" if transport == "polling" else "websocket"
    page.wait_for_function(f"socket.connected && connections == {connections}")
    page.wait_for_function(f"socket.io.engine.transport.name == {name!r}")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_page_calls_hears_in_order_and_is_missed(
    context: BrowserContext, start: Callable[[], Any], port: int, transport: str
) -> None:
    program = start()
    watcher, page = (
        open_page(context, f"http://127.0.0.1:{port}", transports=TRANSPORTS[name])
        for name in ("websocket", transport)
    )
    # While messages are under way the one transport goes over to the other.
    page.wait_for_function("connections == 1")
    page.evaluate("async () => { for (let n = 0; n < 20; n++) await publish(n); }")
    wait_until_connected(page, transport)
    page.evaluate("text => publish(text)", TEXT)
    page.wait_for_function("messages.length == 21")
    assert page.evaluate("messages") == [*range(20), TEXT]
    assert page.evaluate("call('visitors', 'count', {})") == 2

    page.close()
    wait_for(
        lambda: watcher.evaluate("call('visitors', 'count', {})") == 1,
        "the server notices that the page has gone",
    )
    assert program.lines == [f"port {port}"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_page_comes_back_to_a_server_that_was_killed(
    context: BrowserContext, start: Callable[[], Any], port: int, transport: str
) -> None:
    program = start()
    page = open_page(context, f"http://127.0.0.1:{port}", transports=TRANSPORTS[transport])
    wait_until_connected(page, transport)
    program.process.kill()
    page.wait_for_function("!socket.connected")
    start()
    wait_until_connected(page, transport, connections=2)
    assert page.evaluate("publish('back')") is None
    assert page.evaluate("messages") == ["back"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bytes_travel_both_ways(
    context: BrowserContext, start: Callable[[], Any], port: int, transport: str
) -> None:
    start()
    page = open_page(
        context, f"http://127.0.0.1:{port}", path="/echo", transports=TRANSPORTS[transport]
    )
    wait_until_connected(page, transport)
    answer = page.evaluate(
        """async () => {
            const bytes = Uint8Array.from({length: 300}, (_, n) => n % 256);
            const message = {name: "é", parts: [bytes, bytes.buffer.slice(0, 2)]};
            const {name, parts} = await socket.timeout(10_000).emitWithAck("message", message);
            return [name, ...parts.map((part) => [...new Uint8Array(part)])];
        }"""
    )
    assert answer == ["é", [n % 256 for n in range(300)], [0, 1]]
    page.wait_for_function("messages.length == 1")
    assert page.evaluate("new Uint8Array(messages[0].parts[1]).length") == 2


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_is_refused_is_told(
    context: BrowserContext, start: Callable[[], Any], port: int, transport: str
) -> None:
    start()
    transports, auth = TRANSPORTS[transport], {"name": "mallory"}
    page = open_page(
        context, f"http://127.0.0.1:{port}", path="/echo", transports=transports, auth=auth
    )
    page.wait_for_function("refusals.length == 1")
    assert page.evaluate("connections") == 0
    assert "xhr poll error" not in page.evaluate("refusals")[0]

    foreign = open_page(context, f"http://127.0.0.1:{port}", origin=FOREIGN, transports=transports)
    foreign.wait_for_function("refusals.length > 0")
    assert foreign.evaluate("connections") == 0
