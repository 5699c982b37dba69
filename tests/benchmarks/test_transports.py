"""The cost of every way in is measured, and a fault of a server never becomes a figure."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from crowds import gathering
from harness import BenchmarkError
from lines import Line
from tornado.web import Application, RequestHandler
from transports import WAYS
from ways import EventsClient, PollClient, SocketIOWebSocketClient, WebSocketClient

from tests.benchmarks.test_load_generator import Deliver, FakeServer, fifth_changed, listening
from tests.patience import patient

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FIGURES = (
    "kb_per_client",
    "cpu_us_per_connect",
    "cpu_us_per_paced_delivery",
    "cpu_us_per_burst_delivery",
    "cpu_us_per_call",
    "cpu_us_per_beat",
    "cpu_ms_per_idle_hour",
)
DEADLINE = patient(20.0)

Listen = Callable[..., Any]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a short run has filled."""
    directory = tmp_path_factory.mktemp("results")
    done = subprocess.run(
        [sys.executable, "transports.py", "--short", "--out", str(directory)],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=patient(110),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture(scope="module")
def results(kept: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((kept / "transports.json").read_text())
    return loaded


@pytest.mark.parametrize(
    ("way", "server"), [(way.name, server) for way in WAYS for server in way.addresses]
)
def test_it_measures(results: dict[str, Any], way: str, server: str) -> None:
    [one] = results["benchmarks"]["transports"]["cases"][way]
    assert one[server]["clients"] > 0
    # So few clients may fit into memory that the server had already.
    assert all(one[server][figure] > 0 for figure in FIGURES if figure != "kb_per_client")


def test_the_report_has_a_row_for_each(kept: Path) -> None:
    text = (kept / "transports.md").read_text()
    assert all(f"| {way.name} | Snorky |" in text for way in WAYS)
    assert "failed" not in text


def test_it_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "transports.py", "--help"],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert "--ways" in done.stdout


# Faults


async def deliver_six(server: FakeServer, seconds: float = DEADLINE) -> None:
    async with listening(server) as port, gathering(port, seconds) as here:
        await here.join(WebSocketClient, "/", 3)
        publisher = await here.publisher("/", 130)
        await publisher.publish(5)
        await publisher.publish(1, at_once=True)


async def test_a_faultless_server_passes() -> None:
    await deliver_six(FakeServer(list))


@pytest.mark.parametrize(
    "deliver",
    [
        pytest.param(fifth_changed(seq=3), id="repeated"),
        pytest.param(fifth_changed(pad="y"), id="changed"),
        pytest.param(lambda published: [*published[:4], *published[5:]], id="left out"),
    ],
)
async def test_a_delivery_that_is_not_what_was_published_is_a_fault(deliver: Deliver) -> None:
    with pytest.raises(BenchmarkError, match=r"expected message 4, got|of 15 deliveries had come"):
        await deliver_six(FakeServer(deliver), seconds=1)


async def call_twice(server: FakeServer) -> None:
    async with listening(server) as port, gathering(port, DEADLINE) as here:
        await here.join(WebSocketClient, "/", 3)
        await here.call(here.subscribers, 2, 130)


async def test_a_wrong_answer_is_a_fault() -> None:
    await call_twice(FakeServer())
    with pytest.raises(BenchmarkError, match="expected the answer"):
        await call_twice(FakeServer(echo=lambda value: {**value, "pad": ""}))


async def drop_one(server: FakeServer) -> None:
    async with listening(server) as port, gathering(port, DEADLINE) as here:
        await here.join(WebSocketClient, "/", 2)
        await server.subscribers["c0"][0].close()
        await here.alive(1)


async def test_a_dropped_connection_is_a_fault() -> None:
    with pytest.raises(BenchmarkError, match=r"dropped a connection|expected a whole text"):
        await drop_one(FakeServer())


async def test_a_server_of_another_protocol_is_a_fault() -> None:
    with pytest.raises(BenchmarkError, match="connecting 2 clients: not done after 1 s"):
        async with listening(FakeServer()) as port, gathering(port, 1) as here:
            await here.join(SocketIOWebSocketClient, "/", 2)


@pytest.mark.parametrize(
    ("client", "path", "answer", "fault"),
    [
        pytest.param(EventsClient, "events", "id: 2\ndata: {}\n\n", "expected event 1", id="a gap"),
        pytest.param(EventsClient, "events", "id 1\n\n", "expected an event", id="no event"),
        pytest.param(
            PollClient, "poll", '{"after": 1, "messages": []}', "expected messages", id="a poll"
        ),
    ],
)
async def test_a_fault_over_plain_http_is_one_too(
    listen: Listen, client: Any, path: str, answer: str, fault: str
) -> None:
    class Opening(RequestHandler):
        def post(self) -> None:
            self.finish({"session": "S", "received": 1})

    class Receiving(RequestHandler):
        async def get(self) -> None:
            if path == "events":
                self.write("event: open\ndata:\n\n")
                await self.flush()
            self.finish(answer)

    port = listen(Application([("/comet(?:/messages)?", Opening), (".*", Receiving)]))
    with pytest.raises(BenchmarkError, match=fault):
        async with gathering(port, DEADLINE) as here:
            await here.join(client, "/comet", 1)


async def test_answers_are_read_whole_however_they_come() -> None:
    answers = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nin \r\nA\r\ntwo pieces\r\n0\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n"
    )
    faults: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            for answer in answers.split(b"HTTP/1.1 ")[1:]:
                await reader.readuntil(b"\r\n\r\n")
                for byte in b"HTTP/1.1 " + answer:
                    writer.write(bytes([byte]))
                    await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        line = await Line.open(server.sockets[0].getsockname()[1], faults.append)
        pieces: list[bytes] = []
        assert await line.request("GET", "/") == b"whole"
        await line.request("GET", "/", take=pieces.append)
        assert pieces == [b"in ", b"two pieces"]
        assert await line.request("GET", "/") == b""
        line.close()
    assert faults == []
