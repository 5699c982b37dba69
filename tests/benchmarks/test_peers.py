"""Every server of the benchmarks does its work, and is installed once.

Those that need downloads of many megabytes are run by `bench.py --short`; here when asked for:
SNORKY_BENCH_PEERS="centrifuge nchan" pytest tests/benchmarks/test_peers.py ("all": every one).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import debian
import harness
import peers
import pytest
from harness import BenchmarkError
from peers import PEERS, Peer
from websockets.asyncio.client import ClientConnection, connect

from tests.patience import patient

SMALL = ("snorky", "snorky-pure", "tornado-door", "asgi", "tornado", "ws", "socketio", "limit")
ASKED_FOR = os.environ.get("SNORKY_BENCH_PEERS", " ".join(SMALL)).split()
TESTED = [PEERS[name] for name in (PEERS if ASKED_FOR == ["all"] else ASKED_FOR)]
DEADLINE = patient(20.0)
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""Of RFC 6455, section 1.3. `limit` knows the answer to this one alone."""

to_json = partial(json.dumps, separators=(",", ":"))
Message = dict[str, Any]
Read = Iterator[tuple[int | None, Any]]
"""What a frame brings: the number of a call and its answer, or None and a delivered message."""


def calling_snorky(service: str, command: str, number: int, **params: Any) -> str:
    message = {"command": command, "params": params, "callId": number}
    return to_json({"service": service, "message": message})


def read_snorky(text: str) -> Read:
    message = json.loads(text)["message"]
    if message["type"] == "message":
        yield None, message["message"]
    else:
        assert message["type"] == "response", text
        yield message["callId"], message["data"]


def read_socketio(text: str) -> Read:
    match = re.fullmatch(r"42(\[.*\])|43(\d+)(\[.*\])", text)
    assert match, text
    event, number, values = match.groups()
    yield ((None, json.loads(event)[1]) if event else (int(number), (*json.loads(values), None)[0]))


def read_centrifuge(text: str) -> Read:
    for line in text.splitlines():
        reply = json.loads(line)
        assert "error" not in reply, text
        if "id" not in reply:
            yield None, reply["result"]["data"]["data"]
        else:
            yield reply["id"], reply["result"].get("data")


def read_nchan(text: str) -> Read:
    yield (None, json.loads(text)) if text.startswith("{") else (0, None)


@dataclass(frozen=True)
class Dialect:
    subscribe: Callable[[int, str], str]
    publish: Callable[[int, str, Message], str]
    echo: Callable[[int, Message], str]
    read: Callable[[str], Read]
    greeting: str = ""
    welcome: str = ""
    """How the frame begins that answers the greeting: what is sent before may not count."""


DIALECTS = {
    "snorky": Dialect(
        lambda number, channel: calling_snorky("pubsub", "subscribe", number, channel=channel),
        lambda number, channel, message: calling_snorky(
            "pubsub", "publish", number, channel=channel, message=message
        ),
        lambda number, value: calling_snorky("echo", "echo", number, value=value),
        read_snorky,
    ),
    "socketio": Dialect(
        lambda number, channel: f"42{number}" + to_json(["subscribe", channel]),
        lambda number, channel, message: f"42{number}" + to_json(["publish", channel, message]),
        lambda number, value: f"42{number}" + to_json(["echo", value]),
        read_socketio,
        greeting="40",
        welcome="40",
    ),
    "centrifuge": Dialect(
        lambda number, channel: to_json(
            {"id": number, "method": 1, "params": {"channel": channel}}
        ),
        lambda number, channel, message: to_json(
            {"id": number, "method": 3, "params": {"channel": channel, "data": message}}
        ),
        lambda number, value: to_json(
            {"id": number, "method": 9, "params": {"method": "echo", "data": value}}
        ),
        read_centrifuge,
        greeting=to_json({"id": 1}),
        welcome='{"id":1,',
    ),
    "nchan": Dialect(
        lambda number, channel: "",  # its address has subscribed it
        lambda number, channel, message: to_json(message),
        lambda number, value: "",
        read_nchan,
    ),
}


class Client:
    """One connection: what it was answered, and what was delivered to it."""

    def __init__(self, socket: ClientConnection, dialect: Dialect) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.deliveries: list[Any] = []
        self._socket = socket
        self._dialect = dialect
        self._calls = 10

    async def subscribe(self, channel: str) -> None:
        if text := self._dialect.subscribe(self._next_number(), channel):
            await self._socket.send(text)
            await self.read(answers=1)
            self.answers.clear()

    async def publish(self, channel: str, message: Message) -> int:
        number = self._next_number()
        await self._socket.send(self._dialect.publish(number, channel, message))
        return number

    async def echo(self, value: Message) -> Any:
        await self._socket.send(self._dialect.echo(self._next_number(), value))
        await self.read(answers=1)
        return self.answers.pop()[1]

    async def read(self, *, answers: int = 0, deliveries: int = 0) -> None:
        """Read until there are as many, in all."""
        async with asyncio.timeout(DEADLINE):
            while len(self.answers) < answers or len(self.deliveries) < deliveries:
                for number, value in self._dialect.read(str(await self._socket.recv())):
                    if number is None:
                        self.deliveries.append(value)
                    else:
                        self.answers.append((number, value))

    def _next_number(self) -> int:
        self._calls += 1
        return self._calls


class Clients(AsyncExitStack):
    """``await clients.connect("/sub", "c0")``: clients of a server of its own."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer
        server = harness.Server(peer.title, peer.prepare(), peer.environment)
        self._server = self.enter_context(harness.running(server, min(os.sched_getaffinity(0))))
        assert self._server.versions

    async def connect(self, role: str = "", channel: str = "") -> Client:
        """``role`` and ``channel`` matter to nchan alone, where they are the address."""
        dialect = DIALECTS[self._peer.dialect]
        path = f"{role}/{channel}" if self._peer.dialect == "nchan" else self._peer.path
        address = f"ws://127.0.0.1:{self._server.port}{path}"
        connecting = connect(address, compression=None, max_queue=None, proxy=None)
        socket = await self.enter_async_context(connecting)
        if dialect.greeting:
            await socket.send(dialect.greeting)
            async with asyncio.timeout(DEADLINE):
                while not str(await socket.recv()).startswith(dialect.welcome):
                    pass
        return Client(socket, dialect)

    async def subscriber(self, channel: str) -> Client:
        client = await self.connect("/sub", channel)
        await client.subscribe(channel)
        return client


@pytest.fixture(autouse=True)
def sample_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("websockets.client.generate_key", lambda: SAMPLE_KEY)


@pytest.mark.timeout(patient(600))  # some are installed first
@pytest.mark.parametrize("peer", TESTED, ids=lambda peer: peer.name)
async def test_each_subscriber_gets_each_message_once_and_in_order(peer: Peer) -> None:
    messages = [{"seq": number, "at": 0, "pad": "x"} for number in range(101)]
    elsewhere = {"seq": 0, "at": 0, "pad": "y"}
    async with Clients(peer) as clients:
        subscribers = [await clients.subscriber("c0") for _ in range(2)]
        stranger = await clients.subscriber("c1")
        publisher = await clients.connect("/pub", "c0")
        numbers = [await publisher.publish("c0", message) for message in messages[:100]]
        await publisher.read(answers=100)
        other_publisher = await clients.connect("/pub", "c1")
        await other_publisher.publish("c1", elsewhere)
        numbers.append(await publisher.publish("c0", messages[100]))
        await publisher.read(answers=101)
        for subscriber in subscribers:
            await subscriber.read(deliveries=101)
            assert subscriber.deliveries == messages
            assert subscriber.answers == []
        await stranger.read(deliveries=1)
        assert stranger.deliveries == [elsewhere]
        if peer.dialect != "nchan":  # whose answers have no numbers
            assert publisher.answers == [(number, None) for number in numbers]
        assert publisher.deliveries == []


@pytest.mark.timeout(patient(600))
@pytest.mark.parametrize(
    "peer", [peer for peer in TESTED if peer.calls], ids=lambda peer: peer.name
)
async def test_a_call_is_answered_with_its_value(peer: Peer) -> None:
    values = [{"seq": number, "at": 2**40, "pad": 'é"' * number} for number in range(3)]
    async with Clients(peer) as clients:
        client = await clients.connect()
        assert [await client.echo(value) for value in values] == values


def test_what_has_been_made_is_made_again_only_by_another_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "BUILD", tmp_path)
    made: list[str] = []

    def make(text: str, directory: Path) -> None:
        made.append(text)
        (directory / "text").write_text(text)

    for recipe in ("one", "one", "two"):
        directory = peers.made_once("thing", recipe, partial(make, recipe))
        assert (directory / "text").read_text() == recipe
    assert made == ["one", "two"]


def test_a_failed_installation_leaves_nothing_but_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise BenchmarkError("no network")

    monkeypatch.setattr(peers, "BUILD", tmp_path)
    made = peers.made_once("thing", "one", lambda path: (path / "whole").touch())
    with pytest.raises(BenchmarkError, match="no network"):
        peers.made_once("thing", "two", fail)
    assert list(tmp_path.iterdir()) == [made]
    assert (made / "whole").exists()


def test_a_server_that_cannot_be_installed_is_missing_with_the_reason(tmp_path: Path) -> None:
    def prepare() -> list[str]:
        debian.unpack(tmp_path, ["there-is-no-package-of-this-name"])
        return []

    versions, state = peers.state_of(Peer("none", "None", "snorky", "/", False, prepare))
    assert versions == ""
    assert re.match("missing: .*(there-is-no-package-of-this-name|apt-get)", state)
