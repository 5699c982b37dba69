"""What ``snorky serve`` does where the system has no more, and where something does not end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from snorky.cli.sockets import MAX_BACKEND_CONNECTIONS, MAX_RESERVED_DESCRIPTORS, within
from snorky.limits import Limits
from tests.conftest import ExpectLog
from tests.lines import until
from tests.patience import patient
from tests.ports import free_port

APP = """
from snorky import ServiceRegistry
from snorky.services.base import RPCService, rpc_command
class Files(RPCService):
    @rpc_command
    def take_all(self, req):
        held = []
        try:
            while True:
                held.append(open("/dev/null"))
        except OSError:
            self.held = held
        return len(held)
    @rpc_command
    def give_back(self, req):
        for file in self.held:
            file.close()
frontend = ServiceRegistry([Files("files")])
"""

TAKE_ALL = '{"service": "files", "message": {"command": "take_all", "params": {}}}'
GIVE_BACK = TAKE_ALL.replace("take_all", "give_back")
LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc and its limits")


def cpu_seconds(server: Any) -> float:
    """Processor time that a program has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def with_few_descriptors(app: Any, run_program: Callable[..., Any]) -> Callable[[], Any]:
    """A server that may open 80 files, and its two ports."""

    def run() -> Any:
        ports = free_port(), free_port()
        command = [sys.executable, "-m", "snorky", "serve", str(app(APP))]
        command += ["--port", str(ports[0]), "--backend-port", str(ports[1])]
        server = run_program(["bash", "-c", 'ulimit -n 80 && exec "$@"', "bash", *command])
        server.wait_for("/live at")
        return server, ports

    return run


@on_linux
async def test_without_descriptors_newcomers_wait_at_both_ports_and_clients_are_served(
    with_few_descriptors: Any,
) -> None:
    server, ports = with_few_descriptors()
    async with websockets.connect(f"ws://127.0.0.1:{ports[0]}/ws") as page:
        await page.send(TAKE_ALL)
        assert "response" in await page.recv()
        waiting = [await asyncio.open_connection("127.0.0.1", port) for port in ports]
        for _, writer in waiting:
            writer.write(LIVE)
        await until(lambda: sum("Cannot accept" in line for line in server.lines) == 2)
        begun = cpu_seconds(server)
        for _ in range(20):
            await page.send(TAKE_ALL)
            assert "response" in await page.recv()
            await asyncio.sleep(0.05)
        assert cpu_seconds(server) - begun < 0.3
        assert sum("Cannot accept" in line for line in server.lines) == 2
        await page.send(GIVE_BACK)
        await page.recv()
        for reader, writer in waiting:
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"}"), patient(10))
            writer.close()


@on_linux
async def test_the_back_end_has_descriptors_of_its_own(with_few_descriptors: Any) -> None:
    server, ports = with_few_descriptors()
    server.wait_for("At most 60 connections of clients, not 100000 .* 80 open files .* 20 are kept")
    crowd = [await asyncio.open_connection("127.0.0.1", ports[0]) for _ in range(80)]
    await asyncio.to_thread(server.wait_for, "There are 60 connections, newcomers are refused")
    live = await asyncio.to_thread(httpx2.get, f"http://127.0.0.1:{ports[1]}/live")
    assert live.status_code == 200
    for _, writer in crowd:
        writer.close()


def test_descriptors_are_kept_only_where_they_may_become_few(expect_log: ExpectLog) -> None:
    limits = Limits(max_connections=1000)
    assert within(limits, None) == (limits, MAX_BACKEND_CONNECTIONS)
    assert within(limits, 100_000) == (limits, MAX_BACKEND_CONNECTIONS)
    assert within(limits, 1000 + MAX_RESERVED_DESCRIPTORS)[0] == limits
    assert within(limits, 1200) == (Limits(max_connections=900), 150)
    expect_log("At most 900 connections of clients, not 1000")


def listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def unread(app: Any) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server whose log goes into a pipe that nobody reads, and its port."""
    port = free_port()
    command = [sys.executable, "-m", "snorky", "serve", str(app(APP)), "--log-level", "debug"]
    command += ["--port", str(port), "--backend-port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    yield process, port
    if process.poll() is None:
        process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


async def test_a_log_that_nobody_reads_holds_nobody_up(
    unread: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = unread
    await until(lambda: listens(port))
    async with httpx2.AsyncClient() as http:
        for _ in range(2000):  # more than a pipe takes
            assert (await http.get(f"http://127.0.0.1:{port}/live")).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, patient(20)) == 0


THREAD = """
import threading
from snorky import ServiceRegistry
from snorky.limits import Limits
threading.Thread(target=threading.Event().wait, name="database").start()
frontend = ServiceRegistry([], limits=Limits(close_timeout=0.5))
"""

EXECUTOR = """
import asyncio, threading
from snorky import ServiceRegistry
from snorky.limits import Limits
class Registry(ServiceRegistry):
    async def authenticate(self, handshake):
        await asyncio.to_thread(threading.Event().wait)
frontend = Registry([], limits=Limits(close_timeout=0.5, handshake_timeout=0.2))
"""


@pytest.mark.parametrize("text", [THREAD, EXECUTOR])
async def test_what_does_not_end_does_not_keep_the_process(app: Any, serve: Any, text: str) -> None:
    server = serve(app(text))
    if text is EXECUTOR:
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(server.url)
    assert server.port
    begun = time.monotonic()
    assert await asyncio.to_thread(server.stop) == 0
    assert time.monotonic() - begun < patient(8)
    name = "database" if text is THREAD else r"\w+_0"
    server.wait_for(f"Ending while something still runs; threads: {name}")
