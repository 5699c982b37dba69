"""Programs as the manual prints them run as they are, and stop without a word.

Each runs in a process of its own where every warning is an error, without an event loop set up
beforehand, and is stopped by the interrupt key.
"""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.patience import patient

PROGRAMS = Path(__file__).parent / "programs"
DEADLINE = patient(10.0)


class Running:
    """A program that listens on free ports."""

    def __init__(self, run_program: Callable[..., Any], name: str, ports: int) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(ports)]
        self.ports = [listening.getsockname()[1] for listening in sockets]
        for listening in sockets:
            listening.close()
        command = [sys.executable, "-W", "error", str(PROGRAMS / f"{name}.py")]
        self.program = run_program([*command, *map(str, self.ports)])

    async def listens(self) -> None:
        for port in self.ports:
            async with asyncio.timeout(DEADLINE):
                while True:
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        assert self.program.process.poll() is None, self.program.lines
                        await asyncio.sleep(0.02)
                    else:
                        writer.close()
                        await writer.wait_closed()
                        break

    def connect(self, path: str = "/", **options: Any) -> Any:
        return websockets.connect(f"ws://127.0.0.1:{self.ports[0]}{path}", **options)

    async def interrupt(self) -> list[str]:
        """Press the interrupt key; returns all that was printed."""
        code = await asyncio.to_thread(self.program.stop, signal.SIGINT)
        lines: list[str] = self.program.lines
        assert code == 0, lines
        return lines


Run = Callable[..., Any]


@pytest.fixture
async def run(run_program: Callable[..., Any]) -> Run:
    async def start(name: str, ports: int = 1) -> Running:
        running = Running(run_program, name, ports)
        await running.listens()
        return running

    return start


async def receive(connection: Any) -> Any:
    async with asyncio.timeout(DEADLINE):
        return json.loads(await connection.recv())


async def call(connection: Any, service: str, command: str, **params: Any) -> Any:
    """What the very next message says."""
    message = {"command": command, "params": params, "callId": 0}
    await connection.send(json.dumps({"service": service, "message": message}))
    answer = await receive(connection)
    assert answer["service"] == service
    return answer["message"]


def reply(data: Any) -> dict[str, Any]:
    return {"type": "response", "callId": 0, "data": data}


def refusal(text: str) -> dict[str, Any]:
    return {"type": "error", "callId": 0, "message": text}


async def test_the_echo_service(run: Run) -> None:
    echo = await run("echo_service")
    async with echo.connect("/websocket") as connection:
        for message in ("hello", None, [1, {"größer": True}]):
            envelope = {"service": "echo", "message": message}
            await connection.send(json.dumps(envelope))
            assert await receive(connection) == envelope

    assert await echo.interrupt() == []


async def test_the_calculator(run: Run) -> None:
    calculator = await run("calculator")
    async with calculator.connect() as connection:
        assert await call(connection, "calculator", "sum", number1=5, number2=10) == reply(15)
        assert await call(connection, "calculator", "log", number=2.718) == reply(1.0)
        assert await call(connection, "calculator", "log", number=8, base=2) == reply(3.0)
        assert await call(connection, "calculator", "log", number=0) == refusal("Math domain error")
        assert await call(connection, "calculator", "sumLater", number1=1, number2=2) == reply(3)
        assert await call(connection, "calculator", "secret") == refusal("Unknown command")
        assert await call(connection, "calculator", "sum", number1=1) == refusal("Invalid params")
        assert await call(connection, "calculator", "sum", number1=1, number2="a") == refusal(
            "Internal error"
        )

    lines = await calculator.interrupt()
    assert lines[0] == 'Invalid params in RPC service "calculator": sum({"number1": 1})'
    assert lines[1] == (
        'Unhandled exception in RPC service "calculator": sum({"number1": 1, "number2": "a"})'
    )
    assert lines[2] == "Traceback (most recent call last):"
    assert lines[-1].startswith("TypeError: unsupported operand")


async def test_a_minimal_pubsub_over_a_live_set(run: Run) -> None:
    minimal = await run("minimal_pubsub")
    async with minimal.connect("/ws") as alice, minimal.connect("/ws") as bob:
        for connection in (alice, bob):
            assert await call(connection, "minimal", "subscribe") == reply(None)
        assert await call(alice, "minimal", "subscribe") == refusal("Already subscribed")
        async with minimal.connect("/ws") as gone:
            assert await call(gone, "minimal", "subscribe") == reply(None)
            gone.transport.abort()

        count = None
        async with asyncio.timeout(DEADLINE):
            while count != 2:  # until the server has noticed
                first = await call(alice, "minimal", "publish", message="hello")
                assert first == {"type": "message", "message": "hello"}
                count = (await receive(alice))["message"]["data"]
                assert (await receive(bob))["message"] == first

    assert await minimal.interrupt() == []


async def test_a_front_end_with_a_back_end(run: Run) -> None:
    server = await run("pubsub_server", ports=2)
    params = {"channel": ["news", 1], "message": "größer"}
    message = {"command": "publish", "params": params}
    envelope = {"service": "pubsub_backend", "message": {**message, "callId": 0}}
    url = f"http://127.0.0.1:{server.ports[1]}/backend"
    async with server.connect("/ws") as page, httpx2.AsyncClient(trust_env=False) as application:
        assert await call(page, "pubsub", "subscribe", channel=["news", 1]) == reply(None)
        assert await call(page, "pubsub", "publish", channel="a", message=1) == refusal(
            "Not authorized"
        )

        answer = await application.post(url, json=envelope, headers={"X-Backend-Key": "swordfish"})
        assert answer.json() == {"service": "pubsub_backend", "message": reply(None)}
        assert (await receive(page))["message"] == {"type": "message", **params}

        wrong = await application.post(url, json=envelope, headers={"X-Backend-Key": "catfish"})
        assert (wrong.status_code, wrong.json()) == (401, {"error": "Invalid API key"})

    lines = await server.interrupt()
    assert all(line.startswith("401 POST /backend") for line in lines)
    assert not any("fish" in line for line in lines)


async def test_a_chat_over_sockjs(run: Run) -> None:
    server = await run("sockjs_messaging")
    base = f"http://127.0.0.1:{server.ports[0]}"
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=DEADLINE) as browser,
        server.connect("/sockjs/websocket") as bob,
    ):
        assert (await browser.get(base + "/")).text == "The page"
        assert await call(bob, "messaging", "registerParticipant", name="root") == refusal(
            "Name not allowed"
        )
        assert await call(bob, "messaging", "registerParticipant", name="bob") == reply(None)

        alice = base + "/sockjs/000/alice"
        assert (await browser.post(alice + "/xhr")).text == "o\n"
        for command, params in (
            ("registerParticipant", {"name": "alice"}),
            ("send", {"sender": "alice", "dest": "bob", "body": "größer"}),
        ):
            message = {"command": command, "params": params, "callId": 0}
            envelope = json.dumps({"service": "messaging", "message": message})
            await browser.post(alice + "/xhr_send", json=[envelope])
        assert await receive(bob) == {
            "service": "messaging",
            "message": {"type": "message", "sender": "alice", "dest": "bob", "body": "größer"},
        }
        assert await call(bob, "messaging", "listParticipants") == reply(["alice", "bob"])

    assert await server.interrupt() == []


async def test_a_list_that_follows_the_web_application(run: Run) -> None:
    server = await run("datasync_server", ports=2)
    url = f"http://127.0.0.1:{server.ports[1]}/backend"
    keys = {"X-Backend-Key": "swordfish"}

    async def ask(command: str, service: str = "datasync_backend", **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 0}
        envelope = {"service": service, "message": message}
        return (await application.post(url, json=envelope, headers=keys)).json()["message"]

    async with server.connect("/ws") as page, httpx2.AsyncClient(trust_env=False) as application:
        for dealer, query in (
            ("TasksOfUser", ["alice"]),
            ("FilteredTasks", ["==", "user", ["alice"]]),
        ):
            items = [{"dealer": dealer, "query": query}]
            token = (await ask("authorizeSubscription", items=items))["data"]
            assert await call(page, "datasync", "acquireSubscription", token=token) == reply(None)
        delta = {"type": "insert", "model": "Task", "data": {"user": ["alice"], "title": "größer"}}
        assert await ask("publishDeltas", deltas=[delta]) == reply(None)
        for _ in range(2):
            assert (await receive(page))["message"] == {"type": "delta", "delta": delta}

        items = [{"dealer": "AllTasks", "query": "everything"}]
        token = (await ask("authorizeSubscription", "impatient_backend", items=items))["data"]
        await asyncio.to_thread(server.program.wait_for, "removed everything")
        assert await call(page, "datasync", "acquireSubscription", token=token) == refusal(
            "No such subscription"
        )

    assert await server.interrupt() == ["removed everything"]


async def test_a_handler_that_says_who_its_clients_are(run: Run) -> None:
    server = await run("identity_handler")
    async with httpx2.AsyncClient(trust_env=False) as browser:
        await browser.get(f"http://127.0.0.1:{server.ports[0]}/login/alice")
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    page = {"origin": "http://page.example", "additional_headers": {"Cookie": cookies}}
    async with server.connect("/ws", **page) as connection:
        assert await receive(connection) == {
            "service": "who",
            "message": {"you": "alice", "from": "127.0.0.1"},
        }
        await connection.send('{"service": "who", "message": "bye"}')
        async with asyncio.timeout(DEADLINE):
            assert await connection.recv() == "raw bye"
            await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (4000, "done")
    await asyncio.to_thread(server.program.wait_for, "closed alice")

    assert await server.interrupt() == [
        'message {"service": "who", "message": "bye"}',
        "closed alice",
    ]


@pytest.mark.parametrize(
    ("name", "path"), [("echo_service", "/websocket"), ("minimal_pubsub", "/ws")]
)
async def test_the_interrupt_key_works_while_clients_are_connected(
    run: Run, name: str, path: str
) -> None:
    running = await run(name)
    async with running.connect(path) as connection:
        await connection.send('{"service": "echo", "message": 1}')
        if name == "echo_service":
            await receive(connection)
        lines = await running.interrupt()
        async with asyncio.timeout(DEADLINE):
            await connection.wait_closed()

    assert [line for line in lines if "non existing service" not in line] == []
