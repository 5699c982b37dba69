"""``snorky serve`` with an engine: which broker services get, workers, /ready, and the way out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from click.testing import CliRunner

from snorky.cli import main
from tests.conftest import Served
from tests.patience import patient
from tests.servers import Valkey

PUBSUB = """
import os
from snorky import ServiceRegistry
from snorky.services.base import RPCService, rpc_command
from snorky.services.pubsub import PubSubBackend, PubSubService

class Who(RPCService):
    @rpc_command
    def pid(self, req):
        return os.getpid()

pubsub = PubSubService("pubsub")
frontend = ServiceRegistry([pubsub, Who("who")])
backend = ServiceRegistry([PubSubBackend("pubsub_backend", pubsub)])
"""

Serve = Callable[..., Served]
App = Callable[[str], Path]


class Page:
    """A client that calls and is told."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def call(self, service: str, command: str, **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 1}
        await self.socket.send(json.dumps({"service": service, "message": message}))
        while True:
            answer = await self.told()
            if answer.get("callId") == 1:
                return answer["data"] if answer["type"] == "response" else answer["message"]

    async def told(self) -> Any:
        async with asyncio.timeout(patient(10)):
            return json.loads(await self.socket.recv())["message"]

    @property
    async def pid(self) -> int:
        pid = await self.call("who", "pid")
        assert isinstance(pid, int)
        return pid


@asynccontextmanager
async def page_of(server: Served) -> AsyncIterator[Page]:
    async with websockets.connect(server.url) as socket:
        yield Page(socket)


async def publish(server: Served, message: Any) -> Any:
    envelope = {
        "service": "pubsub_backend",
        "message": {"command": "publish", "params": {"channel": "news", "message": message}},
    }
    async with httpx2.AsyncClient(headers={"X-Backend-Key": "swordfish"}) as http:
        answer = await http.post(server.backend_url, json=envelope, timeout=patient(10))
    return answer.json()["message"]


async def ready(server: Served) -> tuple[int, Any]:
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{server.backend_port}/ready")
    return answer.status_code, answer.json()


async def reaches(server: Served, status: int) -> Any:
    """Wait until /ready answers with a status; returns what it says."""
    async with asyncio.timeout(patient(20)):
        while (answer := await ready(server))[0] != status:
            await asyncio.sleep(0.05)
    return answer[1]


# Which broker


@pytest.mark.parametrize("by", ["option", "file", "broker"])
async def test_two_processes_are_joined_by_the_broker_that_is_named(
    app: App, serve: Serve, valkey: Valkey, by: str
) -> None:
    text, options = PUBSUB, ()
    if by == "option":
        options = ("--broker", valkey.url)
    elif by == "file":
        text += f"broker = {valkey.url!r}"
    else:
        text += (
            f"from snorky.brokers.redis import RedisBroker\nbroker = RedisBroker({valkey.url!r})"
        )
    file = app(text)
    one, other = serve(file, *options), serve(file, *options)
    async with page_of(one) as page:
        assert await page.call("pubsub", "subscribe", channel="news") is None
        assert (await publish(other, "hello"))["type"] == "response"
        assert (await page.told())["message"] == "hello"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--broker", "nats://127.0.0.1"), "got 'nats'"),
        (("--broker", "redis+magic://127.0.0.1"), "got redis+magic://"),
        (("--broker", "redis+sentinel://127.0.0.1"), "the name of the master is missing"),
    ],
)
def test_a_broker_that_is_none_is_refused(app: App, options: tuple[str, ...], says: str) -> None:
    text = PUBSUB + "api_key = 'k'"
    result = CliRunner().invoke(main, ["serve", str(app(text)), *options])
    assert result.exit_code == 1
    assert says in result.output


def test_what_is_no_broker_in_the_file_is_refused(app: App) -> None:
    result = CliRunner().invoke(main, ["serve", str(app(PUBSUB + "api_key = 'k'\nbroker = 5"))])
    assert result.exit_code == 1
    assert "must be a Broker, or the address of one; got int" in result.output


def test_a_broker_that_cannot_be_reached_is_named(app: App, serve: Serve) -> None:
    server = serve(app(PUBSUB), "--broker", "redis://user:secret@127.0.0.1:1")
    server.wait_for("The services could not be started: redis://127.0.0.1:1 cannot be reached")
    assert server.end() == 1
    assert not any("secret" in line for line in server.lines)


# Ready


async def test_ready_knows_when_the_engine_is_away_and_when_it_is_back(
    app: App, serve: Serve, valkey: Valkey
) -> None:
    server = serve(app(PUBSUB), "--broker", valkey.url)
    assert await ready(server) == (200, {"status": "ready"})
    async with page_of(server) as page:
        assert await page.call("pubsub", "subscribe", channel="news") is None
        await asyncio.to_thread(valkey.stop)
        told = await reaches(server, 503)
        assert told["status"] == "not ready"
        assert "the broker is away" in told["reason"]
        async with httpx2.AsyncClient() as http:
            public = await http.get(f"http://127.0.0.1:{server.port}/ready")
        assert (public.status_code, public.json()) == (503, {"status": "not ready"})
        # Who is connected stays, and is told what cannot be done.
        refused = await page.call("pubsub", "publish", channel="news", message=1)
        assert refused == "The broker is not available"
        assert (await publish(server, 2))["message"] == "The broker is not available"

        await asyncio.to_thread(valkey.start)
        await reaches(server, 200)
        await publish(server, "again")
        assert (await page.told())["message"] == "again"


async def test_the_broker_in_memory_is_always_ready(app: App, serve: Serve) -> None:
    assert await ready(serve(app(PUBSUB))) == (200, {"status": "ready"})


# Leaving


async def test_sigterm_sends_clients_away_one_after_the_other_and_is_not_ready(
    app: App, serve: Serve
) -> None:
    server = serve(app(PUBSUB), "--drain", "3")
    pages = [await websockets.connect(server.url) for _ in range(40)]
    loop = asyncio.get_running_loop()
    closed: list[float] = []

    async def wait(page: Any) -> None:
        await page.wait_closed()
        closed.append(loop.time())
        assert page.close_code == 1001

    waiting = [asyncio.create_task(wait(page)) for page in pages]
    server.process.send_signal(signal.SIGTERM)
    told = await reaches(server, 503)
    assert told == {"status": "not ready", "reason": "stopping"}
    with pytest.raises(OSError, match="111"):
        await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(patient(20)):
        await asyncio.gather(*waiting)
    assert closed[-1] - closed[0] > 1
    assert await asyncio.to_thread(server.end) == 0


async def test_a_second_signal_does_not_wait(app: App, serve: Serve) -> None:
    server = serve(app(PUBSUB), "--drain", "600")
    pages = [await websockets.connect(server.url) for _ in range(100)]
    server.process.send_signal(signal.SIGTERM)
    await reaches(server, 503)
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.end) == 0
    for page in pages:
        await page.wait_closed()
        assert page.close_code == 1001


# Workers


def test_workers_without_an_engine_are_refused_with_the_reason(app: App, serve: Serve) -> None:
    server = serve(app(PUBSUB), "--workers", "2")
    server.wait_for('--workers 2 needs a broker .* "pubsub" would reach the clients of one process')
    assert server.end() == 1


async def test_services_that_need_no_broker_may_have_workers_where_one_is_named(
    app: App, serve: Serve, valkey: Valkey
) -> None:
    text = PUBSUB.replace("[pubsub, Who(", "[Who(").replace("backend =", "nobody =")
    server = serve(app(text), "--workers", "2", "--broker", valkey.url)
    server.wait_for("with 2 workers")
    async with page_of(server) as page:
        assert await page.pid


async def test_workers_share_the_ports_and_are_one_snorky(
    app: App, serve: Serve, valkey: Valkey
) -> None:
    server = serve(app(PUBSUB), "--workers", "2", "--broker", valkey.url)
    server.wait_for("with 2 workers")
    pages: dict[int, Page] = {}
    sockets = []
    async with asyncio.timeout(patient(20)):
        while len(pages) < 2:
            sockets.append(await websockets.connect(server.url))
            page = Page(sockets[-1])
            pages[await page.pid] = page
    for page in pages.values():
        await page.call("pubsub", "subscribe", channel="news")
    for number in range(5):  # whichever worker's back end takes it
        assert (await publish(server, number))["type"] == "response"
    for page in pages.values():
        assert [(await page.told())["message"] for _ in range(5)] == list(range(5))

    for socket in sockets:
        await socket.close()
    assert await asyncio.to_thread(server.stop) == 0
    for pid in pages:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_worker_that_is_killed_is_started_again(
    app: App, serve: Serve, valkey: Valkey
) -> None:
    server = serve(app(PUBSUB), "--workers", "1", "--broker", valkey.url)
    async with page_of(server) as page:
        pid = await page.pid
        os.kill(pid, signal.SIGKILL)
    server.wait_for("Worker 1 has ended with code -9")
    # Whoever comes meanwhile waits in the queue of the socket.
    async with page_of(server) as page:
        assert await page.pid != pid


@pytest.mark.parametrize("joined", [True, False])
async def test_sighup_replaces_workers_and_refuses_nobody(
    app: App, serve: Serve, valkey: Valkey, joined: bool
) -> None:
    options = ("--broker", valkey.url) if joined else ()
    server = serve(app(PUBSUB), "--workers", "1", "--drain", "0.5", *options)
    async with page_of(server) as page:
        former = await page.pid
        pids = set()
        server.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(patient(30)):
            while not pids - {former}:
                async with page_of(server) as other:
                    # Or it came to the one that was about to leave, and is told to come back.
                    with suppress(websockets.ConnectionClosedOK):
                        pids.add(await other.pid)
        await page.socket.wait_closed()
        assert page.socket.close_code == 1001
    server.wait_for("Every worker has been replaced")
    async with page_of(server) as page:
        assert await page.pid != former


async def test_a_program_that_cannot_be_run_any_more_does_not_replace_the_one_that_runs(
    app: App, serve: Serve, valkey: Valkey
) -> None:
    server = serve(app(PUBSUB), "--workers", "1", "--broker", valkey.url)
    async with page_of(server) as page:
        pid = await page.pid
        app("1 / 0")
        server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(server.wait_for, "the old ones go on")
        assert await page.pid == pid


async def test_workers_stop_when_the_one_that_started_them_is_gone(
    app: App, serve: Serve, valkey: Valkey
) -> None:
    server = serve(app(PUBSUB), "--workers", "1", "--broker", valkey.url)
    async with page_of(server) as page:
        server.process.kill()
        await page.socket.wait_closed()
        assert page.socket.close_code == 1001
