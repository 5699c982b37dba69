"""The demo as a person runs it: two real servers, and Chromium with as many windows as asked."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.patience import patient
from tests.ports import free_ports

expect.set_options(timeout=patient(20_000))

ROOT = Path(__file__).resolve().parents[2]
TODO = ROOT / "demos" / "todo"
MANAGE = [sys.executable, str(TODO / "manage.py")]
# The pages of the to-do list, and what they load from other sites.
TODO_PAGES = {"plain": "", "react": "react/", "angularjs": "angularjs/"}
REACT = ROOT / "tests" / "react" / "node_modules"
ANGULARJS = ROOT / "tests" / "angularjs" / "node_modules"
JSDELIVR = "https://cdn.jsdelivr.net/npm"
TODO_SCRIPTS = {
    f"{JSDELIVR}/react@18.3.1/umd/react.production.min.js": REACT
    / "react-18/umd/react.production.min.js",
    f"{JSDELIVR}/react-dom@18.3.1/umd/react-dom.production.min.js": REACT
    / "react-dom-18/umd/react-dom.production.min.js",
    f"{JSDELIVR}/htm@3.1.1/dist/htm.umd.js": REACT / "htm/dist/htm.umd.js",
    f"{JSDELIVR}/angular@1.8.3/angular.min.js": ANGULARJS / "angular/angular.min.js",
}
HOST = "127.0.0.1"
START_SECONDS = patient(30)
STOP_SECONDS = patient(10)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",  # in containers there is but root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    # A page whose answers a test makes up has no address: it counts as one of the internet, which
    # may not connect to this machine without asking.
    "--disable-features=LocalNetworkAccessChecks",
]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Ask again and again until ``condition`` holds; fails with ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


class Program:
    """A program that listens, and its log."""

    def __init__(
        self, command: list[str], ports: list[int], env: dict[str, str], log: Path
    ) -> None:
        self._command = command
        self._ports = ports
        self._env = env
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens. Does nothing if it runs."""
        if self._process is not None:
            return
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._process = process
        wait_for(
            lambda: process.poll() is not None or all(map(listens, self._ports)),
            f"{self._command} listens on {self._ports}",
        )
        assert process.poll() is None, f"{self._command} ended:\n{self._log.read_text()}"

    def stop(self) -> None:
        """Returns when it has ended. Does nothing if it does not run."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def take_log(self) -> str:
        """What it wrote since the last time, or since its start."""
        log = self._log.read_text()
        os.truncate(self._log, 0)
        return log


class Demo:
    """Django and Snorky, each to be stopped and started at will."""

    def __init__(self, data: Path) -> None:
        port, snorky_port, backend_port = free_ports(3)
        self.address = f"http://{HOST}:{port}/"
        self._env = {
            **os.environ,
            "TODO_DATA": str(data),
            "SNORKY_PORT": str(snorky_port),
            "SNORKY_BACKEND_PORT": str(backend_port),
            "SNORKY_API_KEY": "swordfish",
            "PYTHONUNBUFFERED": "1",
        }
        runserver = [*MANAGE, "runserver", "--noreload", f"{HOST}:{port}"]
        self.django = Program(runserver, [port], self._env, data / "django.log")
        serve = [sys.executable, "-m", "snorky", "serve", str(TODO / "live.py"), "--host", HOST]
        serve += ["--port", str(snorky_port), "--backend-port", str(backend_port)]
        ports = [snorky_port, backend_port]
        self.snorky = Program(serve, ports, self._env, data / "snorky.log")

    def manage(self, *arguments: str) -> None:
        subprocess.run(
            [*MANAGE, *arguments, "-v", "0"], env=self._env, check=True, timeout=patient(30)
        )

    def shell(self, code: str) -> None:
        """Run ``code`` as a person would, in Django's shell."""
        self.manage("shell", "-c", code)

    def clear(self) -> None:
        """Delete all todos, as the page would."""
        address = f"{self.address}api/todos/"
        headers = {"Content-Type": "application/json"}
        for method, path, body in (
            ("PATCH", "all/", b'{"completed": true}'),
            ("DELETE", "completed/", None),
        ):
            request = Request(address + path, method=method, data=body, headers=headers)
            urlopen(request, timeout=patient(30)).close()

    def take_faults(self) -> list[str]:
        """Lines that the servers should not have written since the last time."""
        return [
            *re.findall(r".* (?:WARNING|ERROR) .*", self.snorky.take_log()),
            *re.findall(r'Traceback .*|.*" 5\d\d .*', self.django.take_log()),
        ]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    servers = Demo(tmp_path_factory.mktemp("todo"))
    servers.manage("migrate")
    yield servers
    servers.django.stop()
    servers.snorky.stop()


@pytest.fixture
def demo(servers: Demo) -> Iterator[Demo]:
    """Both servers run, and the list is empty."""
    servers.snorky.start()
    servers.django.start()
    servers.clear()
    yield servers
    faults = servers.take_faults()
    assert not faults, f"unexpected log lines: {faults}"


# By module, since Playwright's own event loop runs for as long as it lives, and no test of
# another module may have its own then.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        pytest.fail(f"the browser tests need one of {', '.join(CHROMIUM_NAMES)} on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


def _fulfil(file: Path, route: Route) -> None:
    # As such sites send it: an `integrity` is checked only where other sites may read the file.
    route.fulfill(path=file, headers={"Access-Control-Allow-Origin": "*"})


class Windows:
    """Opens windows that share nothing; what they complain of fails the test.

    ``scripts`` are files that the pages load from other sites: address -> a copy of it.
    """

    def __init__(
        self, browser: Browser, address: str, scripts: Mapping[str, Path] | None = None
    ) -> None:
        self._browser = browser
        self._address = address
        self._scripts = scripts or {}
        self._complaints: list[str] = []
        self._expected: list[str] = []
        self._contexts: list[BrowserContext] = []

    def open(self, **options: Any) -> Page:
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        for address, file in self._scripts.items():
            assert file.exists(), "install what the pages load: make test does it"
            context.route(address, partial(_fulfil, file))
        return self.open_tab(context)

    def open_tab(self, context: BrowserContext) -> Page:
        """One more window of the same visitor."""
        page = context.new_page()
        page.on("console", lambda line: self._complain(line.type, line.text))
        page.on("pageerror", lambda error: self._complain("error", str(error)))
        page.goto(self._address)
        return page

    def expect(self, *complaints: str) -> None:
        """Complaints that contain one of these are no fault."""
        self._expected += complaints

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self._complaints.append(text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        unexpected = [
            complaint
            for complaint in self._complaints
            if not any(text in complaint for text in self._expected)
        ]
        assert not unexpected, f"unexpected lines on the console: {unexpected}"


@pytest.fixture
def todo_windows(browser: Browser, demo: Demo) -> Iterator[Callable[[str], Windows]]:
    """``todo_windows(page)`` -> opens windows with that page of the to-do list."""
    opened: list[Windows] = []

    def make(page: str) -> Windows:
        opened.append(Windows(browser, demo.address + TODO_PAGES[page], TODO_SCRIPTS))
        return opened[-1]

    yield make
    for windows in opened:
        windows.close()


@pytest.fixture(params=TODO_PAGES)
def todo_page(request: pytest.FixtureRequest) -> str:
    """What is told of it is told of each page of the to-do list."""
    page: str = request.param
    return page


@pytest.fixture
def windows(todo_windows: Callable[[str], Windows], todo_page: str) -> Windows:
    return todo_windows(todo_page)
