"""The JavaScript programs of the manual, in a real browser against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
CLIENT = ROOT / "snorky" / "static"

SERVICES = """
from calculator import CalculatorService
from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import BroadcastDealer
from snorky.services.pubsub import PubSubBackend, PubSubService

class Tasks(BroadcastDealer):
    model = "Task"

pubsub = PubSubService("pubsub")
datasync = DataSyncService("datasync", [Tasks])
frontend = ServiceRegistry([CalculatorService("calculator"), pubsub, datasync])
backend = ServiceRegistry(
    [PubSubBackend("pubsub_backend", pubsub), DataSyncBackend("datasync_backend", datasync)]
)
"""


def open_page(browser: Browser, html: str, answers: dict[str, Callable[[Route], None]]) -> Page:
    """A page of http://localhost:8000, whose other addresses are ``answers``."""
    page = browser.new_page()

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix("http://localhost:8000")
        if path == "/":
            route.fulfill(body=html, content_type="text/html")
        elif path in answers:
            answers[path](route)
        else:
            route.fulfill(status=404)

    page.route("http://localhost:8000/**", answer)
    page.goto("http://localhost:8000/")
    return page


def example(name: str, port: int) -> str:
    return (EXAMPLES / name).read_text().replace("5001", str(port))


def script(text: str) -> Callable[[Route], None]:
    return lambda route: route.fulfill(body=text, content_type="text/javascript")


def test_the_page_of_the_calculator(browser: Browser, serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "calculator.py")
    html = (
        "<!DOCTYPE html><body><script>lines = []; console.log = line => lines.push(line)</script>"
        "<script src='/snorky.js'></script><script src='/calculator.js'></script>"
    )
    answers = {
        "/snorky.js": script((CLIENT / "snorky.js").read_text()),
        "/calculator.js": script(example("calculator.js", server.port)),
    }
    page = open_page(browser, html, answers)
    page.wait_for_function("lines.length == 2")
    assert page.evaluate("lines") == [3, "Only positive numbers have a logarithm"]


def test_the_page_of_the_client(
    browser: Browser, serve: Callable[..., Any], tmp_path: Path
) -> None:
    services = tmp_path / "services.py"
    services.write_text(SERVICES)
    server = serve(services, PYTHONPATH=str(EXAMPLES))
    transport = SnorkyHTTPTransport(server.backend_url, "swordfish")
    backend = SnorkyBackend(transport)

    def tasks(route: Route) -> None:
        assert route.request.headers["x-snorky"] == "Subscribe"
        items = [{"dealer": "Tasks", "query": None}]
        token = backend.call("datasync_backend", "authorizeSubscription", items=items)
        headers = {"X-Subscription-Token": token, "Content-Type": "application/json"}
        route.fulfill(body=json.dumps([{"id": 1, "title": "Old"}]), headers=headers)

    program = example("page.mjs", server.port) + "\nwindow.tasks = tasks;\n"
    html = (
        '<!DOCTYPE html><body><script type="importmap">{"imports": {"snorky": "/snorky.mjs"}}'
        "</script><script>lines = []; console.log = (...args) => lines.push(args)</script>"
        '<script type="module" src="/page.mjs"></script>'
    )
    answers: dict[str, Callable[[Route], None]] = {
        "/snorky.mjs": script((CLIENT / "snorky.mjs").read_text()),
        "/page.mjs": script(program),
        "/api/tasks/": tasks,
    }
    page = open_page(browser, html, answers)
    page.wait_for_function("window.tasks && tasks.length == 1 && lines.length == 1")
    assert page.evaluate("lines[0]") == [3]

    backend.call("pubsub_backend", "publish", channel="news", message="Hello")
    page.wait_for_function("lines.length == 2")
    assert page.evaluate("lines[1]") == ["news", "Hello"]
    new = {"type": "insert", "model": "Task", "data": {"id": 2, "title": "New"}}
    backend.call("datasync_backend", "publishDeltas", deltas=[new])
    page.wait_for_function("tasks.length == 2")
    assert page.evaluate("tasks[1].title") == "New"
    transport.close()
