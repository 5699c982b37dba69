"""Takes the picture for the manual: two windows of the demo, one light, one dark.

    python demos/todo/screenshot.py docs/images/todo.png

Needs Playwright and a Chromium on PATH. Starts a demo of its own, with an empty database.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

RUN = Path(__file__).parent / "run.py"
SCALE = 1.5
WIDTH, HEIGHT = 560, 600
TODOS = ["Buy coffee", "Write to Ana about the house", "Repair the bicycle", "Water the plants"]
NEWEST = "Book the train to Trieste"

STYLE = """
  body { margin: 0; padding: 24px; display: flex; gap: 24px; font: 13px system-ui; }
  figure { margin: 0; border-radius: 12px; overflow: hidden; border: 1px solid #8888; }
  img { display: block; }
  figcaption { padding: 10px; text-align: center; }
  figcaption::before { content: "●●●"; float: left; letter-spacing: 3px; opacity: 0.4; }
  .light { background: #e4e6e0; color: #444; }
  .dark { background: #262c31; color: #bbb; }
"""


@contextmanager
def demo() -> Iterator[str]:
    """Run the demo; yields its address."""
    ports = [f"--{name}=0" for name in ("port", "snorky-port", "backend-port")]
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, str(RUN), "--no-browser", f"--data={data}", *ports]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None  # it is a pipe
            try:
                yield next(line.split()[1] for line in process.stdout if " in two windows" in line)
            finally:
                process.terminate()
                process.communicate()


def open_window(browser: Browser, address: str, colours: str) -> Page:
    page = browser.new_page(
        viewport={"width": WIDTH, "height": HEIGHT},
        device_scale_factor=SCALE,
        color_scheme="dark" if colours == "dark" else "light",
    )
    page.goto(address)
    expect(page.get_by_role("status").first).to_have_text("Live")
    return page


def add(page: Page, title: str) -> None:
    page.get_by_label("New todo").fill(title)
    page.keyboard.press("Enter")
    expect(page.get_by_role("checkbox", name=title)).to_be_visible()


def figure(page: Page, colours: str) -> str:
    # The mark of the newest row, while it can be seen.
    page.evaluate("document.getAnimations().forEach((a) => { a.pause(); a.currentTime = 100; })")
    image = base64.b64encode(page.screenshot()).decode()
    return f"""<figure class="{colours}"><figcaption>127.0.0.1:8000</figcaption>
        <img src="data:image/png;base64,{image}" width="{WIDTH}" height="{HEIGHT}"></figure>"""


def take_picture(browser: Browser, address: str) -> bytes:
    windows = {colours: open_window(browser, address, colours) for colours in ("light", "dark")}
    for title in TODOS:
        add(windows["light"], title)
    windows["dark"].get_by_role("checkbox", name=TODOS[0]).click()
    expect(windows["light"].get_by_role("checkbox", name=TODOS[0])).to_be_checked()
    for page in windows.values():  # what happened so far is no news any more
        page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished))")
    add(windows["light"], NEWEST)
    expect(windows["dark"].get_by_role("checkbox", name=NEWEST)).to_be_visible()

    figures = "".join(figure(page, colours) for colours, page in windows.items())
    picture = browser.new_page(device_scale_factor=SCALE)
    picture.set_content(f"<style>{STYLE}</style>{figures}")
    picture.set_viewport_size({"width": 2 * WIDTH + 76, "height": HEIGHT + 50})
    return picture.screenshot(full_page=True, omit_background=True)


def main(path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with demo() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        path.write_bytes(take_picture(browser, address))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
