"""The page of the guide in a browser: it stays for as long as it is given tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from playwright.sync_api import Browser, Page, Route, WebSocket

from tests.browser.conftest import wait_for
from tests.patience import patient

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples" / "identity"
CLIENT = ROOT / "snorky" / "static"
SECRET = "a secret of the tests, long enough"
SECONDS = patient(5)
GRACE = 4
SITE = "http://localhost:8000"
HTML = (
    '<!DOCTYPE html><body><script type="importmap">{"imports": {"snorky": "/snorky.mjs"}}'
    "</script><script>lines = []; console.log = (...args) => lines.push(args.join(' '))</script>"
    '<script type="module" src="/page.mjs"></script>'
)


class Website:
    """Serves the page, and makes tokens for it while alice is logged in."""

    def __init__(self, program: str) -> None:
        self.logged_in = True
        self.tokens: list[str] = []
        self._files = {
            "/": (HTML, "text/html"),
            "/page.mjs": (program, "text/javascript"),
            "/snorky.mjs": ((CLIENT / "snorky.mjs").read_text(), "text/javascript"),
        }

    def answer(self, route: Route) -> None:
        path = route.request.url.removeprefix(SITE)
        if path == "/live-token":
            self.make_token(route)
        elif path in self._files:
            body, content_type = self._files[path]
            route.fulfill(body=body, content_type=content_type)
        else:
            route.fulfill(status=404)

    def make_token(self, route: Route) -> None:
        if not self.logged_in:
            route.fulfill(status=401)
            return
        claims = {"sub": "alice", "aud": "live", "exp": int(time.time()) + SECONDS}
        claims["jti"] = str(len(self.tokens))
        self.tokens.append(jwt.encode(claims, SECRET, algorithm="HS256"))
        route.fulfill(body=self.tokens[-1])


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def server_file(folder: Path) -> Path:
    file = folder / "live.py"
    program = (EXAMPLES / "live.py").read_text()
    file.write_text(program.replace('audience="live"', f'audience="live", grace={GRACE}'))
    return file


def until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """The page's requests are answered while we wait."""

    def looked() -> bool:
        page.wait_for_timeout(20)
        return condition()

    wait_for(looked, what)


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_a_page_stays_beyond_its_first_token_and_goes_without_new_ones(
    page: Page, serve: Callable[..., Any], tmp_path: Path, transport: str
) -> None:
    server = serve(server_file(tmp_path), TOKEN_SECRET=SECRET)
    program = (EXAMPLES / "page.mjs").read_text().replace("5001", str(server.port))
    program = program.replace(
        "{token: fetchToken}", f"{{token: fetchToken, transports: ['{transport}']}}"
    )
    website = Website(program + "\nwindow.snorky = snorky;\n")
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.route(f"{SITE}/**", website.answer)
    page.goto(f"{SITE}/")
    page.wait_for_function("window.snorky && snorky.isConnected")
    assert page.evaluate("snorky.transport") == transport

    first_is_over = time.time() + SECONDS + GRACE + 1
    until(page, lambda: time.time() > first_is_over, "the first token to end")
    assert page.evaluate("snorky.isConnected")
    assert page.evaluate("lines") == []
    assert len(sockets) == (1 if transport == "websocket" else 0)
    assert len(website.tokens) > 1

    website.logged_in = False
    no_token = "Disconnected: 1006 no token: the web application says 401"
    until(page, lambda: no_token in page.evaluate("lines"), "the page to be without tokens")
    lines = page.evaluate("lines")
    assert lines[0].startswith("Disconnected: 3002 ")
    assert lines[1] == no_token
    assert not page.evaluate("snorky.isConnected")

    website.logged_in = True
    page.wait_for_function("snorky.isConnected", timeout=patient(30_000))
    log = "\n".join([*server.lines, *page.evaluate("lines")])
    assert not any(token in log for token in website.tokens)
