"""Takes the pictures of the demos anew, for their pages: python docs/pictures.py [name ...]

Needs what the browser tests need; ``make test`` installs it. The pictures of the to-do list and of
``snorky demo`` are taken otherwise.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
DEMOS = ROOT / "demos"
IMAGES = ROOT / "docs" / "images"
SCRIPTS = {
    "**/sockjs.min.js": ROOT / "tests/sockjs_client/node_modules/sockjs-client/dist/sockjs.min.js",
    "**/angular.min.js": ROOT / "tests/angularjs/node_modules/angular/angular.min.js",
}
SCALE = 1.25
WIDTH, HEIGHT = 660, 520
CAPTION = "127.0.0.1:8000"

STYLE = """
  body { margin: 0; padding: 24px; display: flex; gap: 24px; font: 13px system-ui; }
  figure { margin: 0; border-radius: 12px; overflow: hidden; border: 1px solid #8888; }
  img { display: block; }
  figcaption { padding: 10px; text-align: center; }
  figcaption::before { content: "●●●"; float: left; letter-spacing: 3px; opacity: 0.4; }
  .light { background: #e4e6e0; color: #444; }
  .dark { background: #262c31; color: #bbb; }
"""

Open = Callable[..., Page]
"""``open("light")``: a window of somebody new, with these colours."""


@contextmanager
def running(name: str, *options: str) -> Iterator[str]:
    """Run the demo; yields its address."""
    command = [sys.executable, str(DEMOS / name / "run.py"), "--no-browser", "--port=0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # it is a pipe
        try:
            yield next(line.split()[1] for line in process.stdout if " in two windows" in line)
        finally:
            process.terminate()
            process.communicate()


def fill(page: Page, label: str, text: str, button: str) -> None:
    page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name=button).click()


def live(page: Page) -> Page:
    expect(page.locator("#status")).to_have_text("Live")
    return page


def chat(open_window: Open) -> list[Page]:
    alice, bob, carol, dan = (open_window(each) for each in ("light", "dark", "light", "light"))
    for page, name in ((alice, "Alice"), (bob, "Bob"), (carol, "Carol"), (dan, "Dan")):
        fill(live(page), "Your name", name, "Come in")
    expect(alice.locator("#people button")).to_have_count(3)

    def write(page: Page, dest: str, text: str) -> None:
        page.locator("#people button").filter(has_text=dest).click()
        fill(page, "Message", text, "Send")
        expect(page.locator("#lines")).to_contain_text(text)

    write(alice, "Bob", "Hello Bob, are you coming along on Saturday?")
    write(bob, "Alice", "Gladly. When is the train?")
    write(alice, "Bob", "At nine, platform 4")
    write(bob, "Alice", "I bring coffee for all of us")
    write(carol, "Bob", "Have you told Dan?")
    write(dan, "Bob", "Saturday?")
    expect(alice.locator("#lines li")).to_have_count(4)
    expect(bob.locator("#people b")).to_have_count(2)
    return [alice, bob]


def chat_angularjs(open_window: Open) -> list[Page]:
    alice, bob = open_window("light"), open_window("dark")
    for page, name in ((alice, "Alice"), (bob, "Bob")):
        fill(page, "Your name", name, "Log in")
        live(page)

    def enter(page: Page, room: str) -> None:
        page.get_by_role("navigation").get_by_role("button").filter(has_text=room).click()
        expect(page.get_by_role("heading", name=room)).to_be_visible()

    def say(page: Page, *texts: str) -> None:
        for text in texts:
            fill(page, "Message", text, "Send")
            expect(page.locator("#lines")).to_contain_text(text)

    for room in ("Garden", "Kitchen"):
        enter(alice, room)
    enter(bob, "Garden")
    say(bob, "The first tomatoes are ripe", "And the hedgehog is back")
    enter(bob, "Kitchen")
    say(alice, "Who has seen the big pan?")
    say(bob, "It is in the cellar, behind the jam")
    say(alice, "Thank you! Soup for everybody at one")
    expect(bob.locator("#lines")).to_contain_text("Soup")
    return [alice, bob]


def announcements(open_window: Open) -> list[Page]:
    pages = [live(open_window(colours)) for colours in ("light", "dark")]
    for text in ("The doors are open", "Lunch is served", "The boat to Piran leaves at 15:40"):
        command = [sys.executable, str(DEMOS / "announcements" / "publish.py"), text]
        settings = json.loads(Path(os.environ["DEMO_DATA"], "run.json").read_text())
        subprocess.run(command, env=os.environ | settings, check=True)
        expect(pages[1].get_by_role("listitem").first).to_contain_text(text)
    fill(pages[1], "Announcement", "Lunch is cancelled", "Announce")
    expect(pages[1].get_by_role("alert")).to_contain_text("Not authorized")
    return pages


def cursors(open_window: Open) -> list[Page]:
    pages = [live(open_window(each)) for each in ("light", "dark", "light")]
    house = [(0.2, 0.75), (0.2, 0.5), (0.33, 0.3), (0.46, 0.5), (0.46, 0.75)]
    hill = [(n / 20, 0.78 - 0.05 * math.sin(n / 3)) for n in range(1, 20)]
    sun = [(0.75 + 0.09 * math.cos(n / 3), 0.28 + 0.12 * math.sin(n / 3)) for n in range(20)]
    drawings = [house, sun, hill]
    places = [(0.47, 0.66), (0.83, 0.33), (0.75, 0.83)]
    for page, name, drawing, place in zip(
        pages, ("Alice", "Bob", "Carol"), drawings, places, strict=True
    ):
        page.get_by_label("Your name").fill(name)
        box = page.locator("#board").bounding_box()
        assert box is not None  # it is on the page
        at = [
            (box["x"] + x * box["width"], box["y"] + y * box["height"])
            for x, y in [*drawing, place]
        ]
        page.mouse.move(*at[0])
        page.mouse.down()
        for point in at[1:-1]:
            page.mouse.move(*point, steps=3)
        page.mouse.up()
        page.mouse.move(*at[-1])
    for page in pages:
        expect(page.locator("#drawing polyline")).to_have_count(3)
        expect(page.locator(".pointer:not(.away)")).to_have_count(2)
        page.wait_for_function(
            "() => document.getAnimations().every(each => each.playState === 'finished')"
        )
    return pages[:2]


def chatroom_socketio(open_window: Open) -> list[Page]:
    alice, bob = open_window("light"), open_window("dark")
    for page, name in ((alice, "Alice"), (bob, "Bob")):
        expect(page.locator("#status")).to_have_text("Connected")
        fill(page, "Your name", name, "Join")
    for page, text in (
        (alice, "Good morning!"),
        (bob, "Good morning, Alice. Is anybody else here?"),
        (alice, "Not yet"),
    ):
        fill(page, "Your words", text, "Send")
        expect(bob.locator("#lines")).to_contain_text(text)
    return [alice, bob]


def progress(open_window: Open) -> list[Page]:
    pages = [live(open_window(each)) for each in ("light", "dark")]
    for page, titles in zip(
        pages, (["Photos of the summer", "Monthly report"], ["A film of the cat"]), strict=True
    ):
        for title in titles:
            fill(page, "New job", title, "Start")
            expect(page.get_by_role("listitem").filter(has_text=title)).to_be_visible()
    for page in pages:
        page.wait_for_function("""() => document.querySelector("progress").value > 0.3
            * document.querySelector("progress").max""")
    return pages


def tickets(open_window: Open) -> list[Page]:
    pages = [live(open_window(each)) for each in ("light", "dark")]
    for name, button in (("open", "Start"), ("doing", "Finish"), ("doing", "Urgent")):
        card = pages[0].locator(f"#{name} li").nth(1)
        number = card.locator(".number").inner_text()
        card.get_by_role("button", name=button).click()
        for page in pages:
            expect(page.locator("#board li").filter(has_text=number).first).to_contain_text(" ms")
    for page in pages:
        page.wait_for_function("document.getAnimations().length === 0")
    return pages


OPTIONS = {
    "announcements": ["--backend-port=0", "--data=DATA"],
    "progress": ["--backend-port=0", "--snorky-port=0", "--data=DATA"],
    "tickets": ["--backend-port=0", "--snorky-port=0", "--data=DATA"],
}
PICTURES = (announcements, chat, chat_angularjs, chatroom_socketio, cursors, progress, tickets)


def figure(page: Page, number: int) -> str:
    image = base64.b64encode(page.screenshot(animations="disabled")).decode()
    colours = ("light", "dark")[number]
    return f"""<figure class="{colours}"><figcaption>{CAPTION}</figcaption>
        <img src="data:image/png;base64,{image}" width="{WIDTH}" height="{HEIGHT}"></figure>"""


def side_by_side(browser: Browser, pages: list[Page]) -> bytes:
    figures = "".join(figure(page, number) for number, page in enumerate(pages))
    picture = browser.new_page(device_scale_factor=SCALE)
    picture.set_content(f"<!DOCTYPE html><style>{STYLE}</style>{figures}")
    picture.set_viewport_size({"width": 2 * WIDTH + 76, "height": HEIGHT})
    return picture.screenshot(full_page=True, omit_background=True)


def shrunk(png: bytes) -> bytes:
    """The same with 255 colours, and one for what is transparent."""
    image = Image.open(io.BytesIO(png))
    seen = image.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0)
    small = image.convert("RGB").quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=1)
    small.paste(255, mask=ImageChops.invert(seen))
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True, transparency=255)
    return file.getvalue()


def take(browser: Browser, demo: Callable[[Open], list[Page]]) -> None:
    name = demo.__name__
    contexts: list[BrowserContext] = []

    def open_window(colours: str) -> Page:
        context = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=SCALE,
            color_scheme="dark" if colours == "dark" else "light",
        )
        contexts.append(context)
        for script, file in SCRIPTS.items():
            context.route(script, partial(fulfil, file))
        page = context.new_page()
        page.goto(address)
        return page

    with tempfile.TemporaryDirectory() as data:
        os.environ["DEMO_DATA"] = data
        options = [option.replace("DATA", data) for option in OPTIONS.get(name, ())]
        with running(name, *options) as address:
            picture = shrunk(side_by_side(browser, demo(open_window)))
            for context in contexts:
                context.close()
    (IMAGES / f"{name}.png").write_bytes(picture)
    print(f"{name}.png: {len(picture) // 1000} kB")


def fulfil(file: Path, route: Route) -> None:
    """Answer as the site would that has the script."""
    route.fulfill(path=file, headers={"Access-Control-Allow-Origin": "*"})


def main(names: list[str]) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for demo in PICTURES:
            if not names or demo.__name__ in names:
                take(browser, demo)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
