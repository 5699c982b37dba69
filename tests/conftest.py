"""Unexpected log lines fail a test; servers under test run in its own event loop."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from snorky.log import allowance
from snorky.request_handlers.front_door import FrontDoor
from tests.patience import patient
from tests.ports import free_port

# Where the suite is started in the background Ctrl-C is ignored, and its programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The suite that brokers of others run, too.
pytest.register_assert_rewrite("snorky.testing.brokers")

pytest_plugins = ["tests.fanouts", "tests.servers"]

# The same examples at each run; with FUZZ, others.
settings.register_profile("repeatable", derandomize=True)
if "FUZZ" not in os.environ:
    settings.load_profile("repeatable")

# Of one test, by pytest-timeout; a test of its own may say more.
os.environ.setdefault("PYTEST_TIMEOUT", str(patient(120)))

WATCHED = ("snorky", "tornado", "asyncio")


class ExpectLog:
    """Takes the log lines that a test expects; what is left when it ends fails it."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._taken: set[int] = set()

    def __call__(self, text: str, *, level: int | None = None) -> logging.LogRecord:
        """Take the first line that contains ``text``; fails where there is none."""
        for record in self._caplog.get_records("call"):
            if (
                id(record) not in self._taken
                and text in record.getMessage()
                and (level is None or record.levelno == level)
            ):
                self._taken.add(id(record))
                return record
        lines = [record.getMessage() for record in self._caplog.get_records("call")]
        raise AssertionError(f"expected a log line with {text!r}, got {lines}")

    def all(self, text: str) -> int:
        """Take every line that contains ``text``; returns how many there were."""
        found = [r for r in self._caplog.get_records("call") if text in r.getMessage()]
        self._taken.update(map(id, found))
        return len(found)

    def unexpected(self) -> list[str]:
        return [
            f"{record.name} {record.levelname}: {record.getMessage()}"
            for record in self._caplog.get_records("call")
            if record.levelno >= logging.WARNING
            and record.name.split(".")[0] in WATCHED
            and id(record) not in self._taken
        ]


@pytest.fixture(autouse=True)
def expect_log(caplog: pytest.LogCaptureFixture) -> Iterator[ExpectLog]:
    """``expect_log("text")`` takes an expected log line; an unexpected warning fails the test."""
    allowance.clear()  # all tests have one address
    expect = ExpectLog(caplog)
    yield expect
    unexpected = expect.unexpected()
    assert not unexpected, f"unexpected log lines: {unexpected}"


@pytest.fixture
def refused_pages(expect_log: ExpectLog) -> Iterator[None]:
    """For tests in which pages are refused: the log says so each time."""
    yield
    expect_log.all("Page of origin")


Listen = Callable[..., int]


@pytest_asyncio.fixture
async def listen() -> AsyncIterator[Listen]:
    """``listen(application, **http_server_options)`` -> the port, on 127.0.0.1."""
    servers: list[HTTPServer] = []

    def start(application: Application, **options: object) -> int:
        server = HTTPServer(application, **options)
        server.listen(0, "127.0.0.1")
        servers.append(server)
        listening: socket.socket = next(iter(server._sockets.values()))
        return int(listening.getsockname()[1])

    yield start
    for server in servers:
        server.stop()
        await server.close_all_connections()


OpenFrontDoor = Callable[..., tuple[FrontDoor, int]]


@pytest_asyncio.fixture
async def open_front_door() -> AsyncIterator[OpenFrontDoor]:
    """``open_front_door(application, routes, **options)`` -> the door and its port."""
    doors: list[FrontDoor] = []

    def start(application: Application, routes: object, **options: object) -> tuple[FrontDoor, int]:
        door = FrontDoor(application, routes, **options)
        listening = bind_sockets(0, "127.0.0.1")
        door.add_sockets(listening)
        doors.append(door)
        return door, int(listening[0].getsockname()[1])

    yield start
    for door in doors:
        door.stop()
        await door.close_all_connections()


class Program:
    """A program in a process of its own; ``lines`` is what it has printed, on both outputs."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path | None = None) -> None:
        self.lines: list[str] = []
        self._printed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._printed:
                self.lines.append(line.rstrip())
                self._printed.notify_all()
        with self._printed:
            self._ended = True
            self._printed.notify_all()

    def wait_for(self, pattern: str, timeout: float = patient(20)) -> re.Match[str]:
        """The first line that matches; fails when the program ends or time is up before it."""
        matches: list[re.Match[str]] = []

        def found() -> bool:
            matches.extend(m for line in self.lines if (m := re.search(pattern, line)))
            return bool(matches) or self._ended

        with self._printed:
            self._printed.wait_for(found, timeout)
        assert matches, f"expected a line matching {pattern!r}, got {self.lines}"
        return matches[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it with a signal and return its exit code."""
        if number == signal.SIGINT:
            self._let_peers_leave()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.end()

    def _let_peers_leave(self) -> None:
        """Wait until it has closed what its peers have left. Interrupted in the middle of that it
        would say so, where warnings are errors."""
        ends = time.monotonic() + patient(5)
        while self.process.poll() is None and time.monotonic() < ends:
            inodes = {line.split()[9] for line in _lines_of("/proc/net/tcp") if " 08 " in line}
            sockets = {f"socket:[{inode}]" for inode in inodes}
            if sockets.isdisjoint(_files_of(self.process.pid)):
                return
            time.sleep(0.01)

    def end(self) -> int:
        """Wait until it ends by itself and return its exit code."""
        try:
            code = self.process.wait(patient(20))
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join(patient(20))
            assert self.process.stdout is not None
            self.process.stdout.close()
        return code


def _lines_of(table: str) -> list[str]:
    """Connections by the kernel's table; 08 is one whose other end was closed (CLOSE_WAIT)."""
    return Path(table).read_text().splitlines()[1:]


def _files_of(pid: int) -> set[str]:
    try:
        return {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:  # it closed one meanwhile, or has ended
        return set()


class Served(Program):
    """``snorky serve`` on free ports."""

    def __init__(self, file: Path | None, *options: str, **env: str) -> None:
        command = [sys.executable, "-m", "snorky", "serve", *options]
        if file is not None:
            command.append(str(file))
        if "--port" not in options:
            command += ["--port", "0", "--backend-port", "0"]
        super().__init__(command, {"SNORKY_API_KEY": "swordfish", **env})

    @property
    def port(self) -> int:
        return int(self.wait_for(r"ws://127\.0\.0\.1:(\d+)/ws")[1])

    @property
    def backend_port(self) -> int:
        return int(self.wait_for(r"/live at http://127\.0\.0\.1:(\d+)")[1])

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def backend_url(self) -> str:
        return f"http://127.0.0.1:{self.backend_port}/backend"


@pytest.fixture
def run_program() -> Iterator[Callable[..., Program]]:
    """``run_program([command], **env)`` -> a Program, stopped when the test ends."""
    programs: list[Program] = []

    def run(command: list[str], *, cwd: Path | None = None, **env: str) -> Program:
        programs.append(Program(command, env, cwd))
        return programs[-1]

    yield run
    for program in programs:
        program.stop()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """``serve(file, *options, **env)`` -> ``snorky serve`` running on free ports."""
    programs: list[Served] = []

    def run(file: Path | None, *options: str, **env: str) -> Served:
        programs.append(Served(file, *options, **env))
        return programs[-1]

    yield run
    for program in programs:
        program.stop()


@pytest.fixture
def on_free_ports(tmp_path: Path) -> Callable[..., tuple[Path, dict[int, int]]]:
    """``on_free_ports(file)`` -> a copy of a program with other ports, and which they are.

    The manual's programs say 5001 and 5002; what else runs on the machine must not matter.
    """

    def copy(file: Path) -> tuple[Path, dict[int, int]]:
        ports = {5001: free_port(), 5002: free_port()}
        text = file.read_text()
        for printed, port in ports.items():
            text = text.replace(str(printed), str(port))
        copied = tmp_path / file.name
        copied.write_text(text)
        return copied, ports

    return copy


@dataclass
class Certificate:
    """Of a server on 127.0.0.1, and of clients that trust it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    key, file = folder / "key.pem", folder / "certificate.pem"
    # Everywhere where Python has its ssl module from; saves a dependency.
    command = "openssl req -x509 -nodes -days 2 -subj /CN=localhost -newkey ec"
    options = "-pkeyopt ec_paramgen_curve:prime256v1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), *options.split(), "-keyout", str(key), "-out", str(file)],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file, key)
    return Certificate(server, ssl.create_default_context(cafile=str(file)))
