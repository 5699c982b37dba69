"""The pages of the manual about Messaging, Chat and Cursors, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.patience import patient

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"


class Example:
    """The server of an example, and windows with its page."""

    def __init__(self, browser: Browser, url: str, start: Callable[[], Any]) -> None:
        self._context = browser.new_context()
        self._url = url
        self._start = start
        self._complaints: list[str] = []
        self._server = start()

    def open(self, name: str) -> Page:
        """A window of somebody who says this name, once it is connected."""
        page = self._context.new_page()
        page.on("dialog", lambda dialog: dialog.accept(name))
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.goto(self._url)
        page.wait_for_function("snorky.isConnected")
        return page

    def restart(self, *pages: Page) -> None:
        """Let the server go and come, and wait until the pages are back."""
        assert self._server.stop() == 0
        for page in pages:
            page.wait_for_function("!snorky.isConnected")
        self._server = self._start()
        for page in pages:
            page.wait_for_function("snorky.isConnected", timeout=patient(30_000))

    def close(self) -> None:
        self._context.close()
        assert self._complaints == []


@pytest.fixture
def run_example(
    browser: Browser, serve: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> Iterator[Callable[[str], Example]]:
    examples: list[Example] = []

    def run(name: str) -> Example:
        file, ports = on_free_ports(EXAMPLES / name / "page.html")
        options = ("--port", str(ports[5001]), "--backend-port", "0", "--page", str(file))

        def start() -> Any:
            server = serve(EXAMPLES / name / "live.py", *options)
            server.wait_for("serves clients")
            return server

        examples.append(Example(browser, f"http://localhost:{ports[5001]}/", start))
        return examples[-1]

    yield run
    for example in examples:
        example.close()


def write(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"input[name={name}]").fill(value)
    page.get_by_role("button").click()


def test_two_people_write_to_each_other(run_example: Callable[[str], Example]) -> None:
    example = run_example("messaging")
    alice, bob = example.open("alice"), example.open("bob")
    two_names = "messaging.listParticipants().then(names => names.length == 2)"
    alice.wait_for_function(two_names)
    write(alice, dest="bob", text="Hello")
    expect(bob.locator("body")).to_contain_text("alice: Hello")
    write(bob, dest="carol", text="Hello")
    expect(bob.locator("body")).to_contain_text("Unknown destination")
    other_alice = example.open("alice")
    expect(other_alice.locator("body")).to_contain_text("Name already registered")

    other_alice.close()
    example.restart(alice, bob)
    bob.wait_for_function(two_names)
    write(bob, dest="alice", text="Still there?")
    expect(alice.locator("body")).to_contain_text("bob: Still there?")


def test_a_room_of_people_and_their_windows(run_example: Callable[[str], Example]) -> None:
    example = run_example("chat")
    alice, bob = example.open("alice"), example.open("bob")
    members = [page.locator("#members") for page in (alice, bob)]
    for each in members:
        expect(each).to_have_text("alice, bob")
    tablet = example.open("bob")
    expect(tablet.locator("#members")).to_have_text("alice, bob")
    write(tablet, text="Hello")
    for page in (alice, bob, tablet):
        expect(page.locator("body")).to_contain_text("bob: Hello")
    for page in (bob, tablet):
        expect(page.locator("body")).to_contain_text("(read in your other window)")
    expect(alice.locator("body")).not_to_contain_text("(read")

    tablet.close()
    write(bob, text="One window is closed")
    expect(alice.locator("body")).to_contain_text("One window is closed")
    expect(members[0]).to_have_text("alice, bob")
    bob.close()
    expect(members[0]).to_have_text("alice")

    example.restart(alice)
    carol = example.open("carol")
    for page in (alice, carol):
        expect(page.locator("#members")).to_have_text("alice, carol")


def test_pointers_on_a_plan(run_example: Callable[[str], Example]) -> None:
    example = run_example("cursors")
    alice, bob = example.open("alice"), example.open("bob")
    pointer_of_bob, pointer_of_alice = alice.locator("i"), bob.locator("i")
    for pointer, owner in ((pointer_of_bob, "bob"), (pointer_of_alice, "alice")):
        expect(pointer).to_have_text(owner)
    bob.mouse.move(30, 40)
    expect(pointer_of_bob).to_have_css("translate", "30px 40px")
    bob.mouse.move(50, 60)
    expect(pointer_of_bob).to_have_css("translate", "50px 60px")

    example.restart(alice, bob)
    for pointer, owner in ((pointer_of_bob, "bob"), (pointer_of_alice, "alice")):
        expect(pointer).to_have_text(owner)
    alice.bring_to_front()
    alice.mouse.move(70, 80)
    expect(pointer_of_alice).to_have_css("translate", "70px 80px")
    bob.close()
    expect(pointer_of_bob).to_have_count(0)
