"""The pages of the to-do list beside each other: what one does, the others show."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import TODO, TODO_PAGES, TODO_SCRIPTS, Demo, Windows
from tests.browser.todo_page import add, expect_live, row, status, titles
from tests.ports import free_ports


@pytest.fixture
def opened(todo_windows: Callable[[str], Windows]) -> list[Windows]:
    return [todo_windows(page) for page in TODO_PAGES]


@pytest.fixture
def pages(opened: list[Windows]) -> list[Page]:
    """A window with each of them."""
    pages = [windows.open() for windows in opened]
    expect_live(*pages)
    return pages


def test_what_is_done_on_one_page_is_seen_on_the_others(pages: list[Page]) -> None:
    for number, page in enumerate(pages):
        add(page, f"Todo {number}")
    for page in pages:
        expect(titles(page)).to_have_text(["Todo 0", "Todo 1", "Todo 2"])
    for number, page in enumerate(pages):
        page.get_by_role("checkbox", name=f"Todo {number}").click()
        for other in pages:
            expect(other.get_by_role("checkbox", name=f"Todo {number}")).to_be_checked()
    for number, page in enumerate(pages):
        row(page, f"Todo {number}").hover()
        row(page, f"Todo {number}").get_by_role("button", name="Delete").click()
        for other in pages:
            expect(titles(other)).to_have_count(2 - number)


def test_what_is_done_in_the_django_shell_is_seen_on_every_page(
    demo: Demo, pages: list[Page]
) -> None:
    demo.shell("Todo(title='From the shell').save()")
    for page in pages:
        expect(titles(page)).to_have_text(["From the shell"])
    demo.shell("todo = Todo.objects.get(); todo.completed = True; todo.save()")
    for page in pages:
        expect(page.get_by_role("checkbox", name="From the shell")).to_be_checked()
    demo.shell("Todo.objects.all().delete()")
    for page in pages:
        expect(page.get_by_text("Nothing to do.")).to_be_visible()


def test_each_page_leads_to_the_others(todo_windows: Callable[[str], Windows]) -> None:
    page = todo_windows("plain").open()
    for name, path in (
        ("React", "/react/"),
        ("AngularJS", "/angularjs/"),
        ("Plain JavaScript", "/"),
    ):
        page.get_by_role("link", name=name).click()
        expect_live(page)
        assert page.evaluate("location.pathname") == path
        expect(page.get_by_role("link", name=name)).to_have_attribute("aria-current", "page")


def test_each_page_says_that_a_server_is_away_and_gets_over_it(
    demo: Demo, opened: list[Windows], pages: list[Page]
) -> None:
    for windows in opened:
        # The last: it took the request, and ended.
        windows.expect(
            "WebSocket connection to", "net::ERR_CONNECTION_REFUSED", "net::ERR_EMPTY_RESPONSE"
        )
    demo.snorky.stop()
    for page in pages:
        expect(status(page)).to_have_text("Reconnecting")
    late = [windows.open() for windows in opened]
    for page in late:
        expect(status(page)).to_have_text("Connecting")
        expect(page.get_by_text("Snorky does not answer")).to_be_visible()
    demo.django.stop()
    for page in pages:
        field = page.get_by_label("New todo")
        field.fill("Buy tea")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("The web application does not answer.")
        expect(field).to_have_value("Buy tea")
    demo.snorky.start()
    demo.django.start()
    expect_live(*pages, *late)
    for page in pages:
        page.get_by_label("New todo").press("Enter")
        expect(page.get_by_role("alert")).to_be_hidden()
    for page in (*pages, *late):
        expect(titles(page)).to_have_text(["Buy tea"] * 3)


def received_changes(page: Page) -> list[Any]:
    """Load the page again; from then on the list grows by what its socket receives."""
    changes: list[Any] = []

    def receive(text: str | bytes) -> None:
        message = json.loads(text or "{}").get("message", {})
        if message.get("type") == "changes":
            changes.extend(message["changes"])

    page.on("websocket", lambda socket: socket.on("framereceived", receive))
    page.reload()
    expect_live(page)
    return changes


def test_however_fast_windows_write_all_end_equal_to_the_database(
    demo: Demo, opened: list[Windows], pages: list[Page]
) -> None:
    for windows in opened:
        windows.expect("404 (Not Found)")  # another was first to delete it
    changes = received_changes(pages[0])
    demo.shell("for n in range(20): Todo(title=f'{n}').save()")
    for page in pages:
        expect(titles(page)).to_have_count(20)
    # Straight to the API, since nobody types that fast: several changes of a row at a time.
    write = """async (name) => {
        const call = (method, path, data) => fetch(`/api/todos/${path}`, {
            method, body: JSON.stringify(data), headers: { "Content-Type": "application/json" },
        });
        const rows = await (await call("GET", "")).json();
        for (const { id } of rows) {
            const titles = [1, 2, 3].map((n) => `${name} ${n}`);
            await Promise.all(titles.map((title) => call("PATCH", `${id}/`, { title })));
        }
        await Promise.all(rows.map(({ id }) => id % 2 && call("DELETE", `${id}/`)));
        await call("POST", "", { title: name });
    }"""
    for number, page in enumerate(pages):
        page.evaluate(f"void (globalThis.written = ({write})('{number}'))")
    for page in pages:
        page.evaluate("written")
    rows = pages[0].evaluate("fetch('/api/todos/').then((response) => response.json())")
    assert len(rows) == 13
    for page in pages:
        expect(titles(page)).to_have_text([todo["title"] for todo in rows])
    latest = {change["key"]: change["data"] for change in changes}
    assert len(latest) == 23, "a change was not told"
    assert [row for row in latest.values() if row] == rows, "a change overtook the one before"


@pytest.fixture
def run(run_program: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """``run(command)`` -> the program, in the folder of the demo, on free ports."""
    snorky_port, backend_port = map(str, free_ports(2))
    ports = {"SNORKY_PORT": snorky_port, "SNORKY_BACKEND_PORT": backend_port}

    def run(*command: str) -> Any:
        python = [sys.executable, "-W", "error", *command]
        return run_program(python, cwd=TODO, TODO_DATA=str(tmp_path), **ports)

    return run


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SNORKY_API_KEY", "SNORKY_PORT", "SNORKY_BACKEND_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_settings")
def test_the_two_servers_started_by_hand_need_no_settings(
    browser: Browser, run: Callable[..., Any]
) -> None:
    snorky = run("run_snorky_server.py")
    snorky.wait_for(r"serves pages at ws://127\.0\.0\.1:")
    assert run("manage.py", "migrate").end() == 0
    django = run("manage.py", "runserver", "--noreload", "127.0.0.1:0")
    address = django.wait_for(r"server at (http://127\.0\.0\.1:\d+/)")[1]
    windows = [Windows(browser, address + path, TODO_SCRIPTS) for path in TODO_PAGES.values()]
    pages = [each.open() for each in windows]
    expect_live(*pages)
    add(pages[0], "Buy coffee")
    for page in pages:
        expect(titles(page)).to_have_text(["Buy coffee"])
    for each in windows:
        each.close()
    assert snorky.stop(signal.SIGINT) == 0
    assert "Traceback" not in "".join(snorky.lines)


@pytest.mark.usefixtures("no_settings")
def test_both_use_the_ports_and_the_key_that_the_manual_names(
    run_program: Callable[..., Any], tmp_path: Path
) -> None:
    show = (
        "import run_snorky_server as snorky; from django.conf import settings;"
        "print(snorky.HOST, snorky.PORT, snorky.BACKEND_PORT, snorky.API_KEY);"
        "print(settings.SNORKY_PORT, settings.SNORKY_BACKEND_URL, settings.SNORKY_API_KEY)"
    )
    options = {"DJANGO_SETTINGS_MODULE": "todo.settings", "TODO_DATA": str(tmp_path)}
    program = run_program([sys.executable, "-c", show], cwd=TODO, **options)
    assert program.end() == 0
    assert program.lines == [
        "127.0.0.1 5001 5002 swordfish",
        "5001 http://127.0.0.1:5002/backend swordfish",
    ]
