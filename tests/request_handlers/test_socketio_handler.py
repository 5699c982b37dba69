"""A class of the application's for each Socket.IO connection."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError

from snorky.request_handlers.socketio import SocketIOHandler, SocketIOServer
from tests.lines import until
from tests.patience import patient
from tests.ports import free_port
from tests.request_handlers.socketio_site import HandPeer, Pages, run_pages

POLLING = {"transports": ["polling"]}
WEBSOCKET = {"transports": ["websocket"]}
BOTH = pytest.mark.parametrize("transport", [POLLING, WEBSOCKET], ids=["polling", "websocket"])


class Echo(SocketIOHandler):
    """Sends back what it is sent, and is kept."""

    live: list[Echo] = []
    opened: list[tuple[Any, Any]] = []
    closed: list[Echo] = []

    def on_open(self, *args: Any, **kwargs: Any) -> Any:
        self.opened.append((args, kwargs))
        self.live.append(self)
        self.session["opened"] = True
        self.session.save()
        self.send("hello")

    def on_message(self, message: Any) -> Any:
        self.send(message)

    def on_close(self) -> None:
        self.closed.append(self)
        self.live.remove(self)


@pytest.fixture(autouse=True)
def forget() -> None:
    for kept in (Echo.live, Echo.opened, Echo.closed):
        kept.clear()


@pytest_asyncio.fixture
async def pages() -> AsyncIterator[Pages]:
    async with run_pages() as pages:
        yield pages


class Serve:
    def __init__(self, listen: Callable[..., int]) -> None:
        self._listen = listen

    def __call__(self, route: Any, **settings: Any) -> str:
        self.port = self._listen(Application([route], **settings))
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def serve_route(listen: Callable[..., int]) -> Serve:
    return Serve(listen)


@BOTH
async def test_messages_come_and_go_decoded(
    serve_route: Serve, pages: Pages, transport: Any
) -> None:
    await pages.open("alice", serve_route(Echo.routes("echo")), path="/echo", **transport)
    assert await pages.event("alice", "message") == ["hello"]
    for message in ("text", '{"json": "in text"}', {"a": [1, None]}, 1.5, [], None, b"\x00\xff"):
        await pages.do("emit", "alice", "message", message)
        assert await pages.event("alice", "message") == [message]


@BOTH
async def test_there_is_one_instance_for_a_connection(
    serve_route: Serve, pages: Pages, transport: Any
) -> None:
    await pages.open("alice", serve_route(Echo.routes("echo")), path="/echo", **transport)
    await pages.open("bob", f"http://127.0.0.1:{serve_route.port}", path="/echo", **transport)
    for name in ("alice", "bob"):
        await pages.emit(name, "message", name)
    one, two = Echo.live
    assert one.session.id != two.session.id
    assert one.session == two.session == {"opened": True}
    one.send("for alice")
    assert await pages.event("alice", "message") == ["hello"]
    received = {(await pages.event("alice", "message"))[0] for _ in range(2)}
    assert received == {"alice", "for alice"}
    await pages.do("close", "alice")
    await until(lambda: Echo.closed)
    assert Echo.closed == [one]
    assert not one.connected
    one.send("nobody hears it")
    assert Echo.live == [two]


async def test_the_request_and_the_cookies_are_those_that_opened_it(
    serve_route: Serve, pages: Pages
) -> None:
    url = serve_route(Echo.routes("echo"), title="Echoes")
    headers = {"Cookie": "name=alice"}
    await pages.open("alice", url, path="/echo", extraHeaders=headers, auth={"token": 1})
    (handler,) = Echo.live
    assert handler.get_cookie("name") == "alice"
    assert handler.settings["title"] == "Echoes"
    assert handler.request.remote_ip == "127.0.0.1"
    assert handler.auth == {"token": 1}


async def test_the_protocol_is_named_as_it_always_was(serve_route: Serve, pages: Pages) -> None:
    url = serve_route(Echo.routes("echo"))
    await pages.open("alice", url, path="/echo", **POLLING)
    await pages.open("bob", url, path="/echo", **WEBSOCKET)
    assert [handler.protocol for handler in Echo.live] == ["xhr-polling", "websocket"]
    await pages.open("carol", url, path="/echo")
    assert await pages.event("carol", "upgrade") == ["websocket"]
    await until(lambda: Echo.live[2].protocol == "websocket")


@pytest.mark.parametrize(
    ("route", "path", "opened"),
    [
        (("echo",), "/echo", ((), {})),
        (("/a/echo/",), "/a/echo", ((), {})),
        (("e(?P<kind>c?ho)",), "/ecko", None),
        (("e(?P<kind>c?ho)",), "/echo", ((), {"kind": "cho"})),
        (
            ("echo", r"(?P<room>\d+)-(\w+)-(.*)", "/"),
            "/echo/12-ab-c%20d",
            (("ab", "c d"), {"room": "12", "extra": "12-ab-c d"}),
        ),
        (("echo", r"(?P<room>\d+)", "/"), "/echo", None),
        (("echo", r"(?P<room>\d+)?", "+"), "/echo+", ((), {"room": None, "extra": ""})),
    ],
)
async def test_groups_of_the_path_reach_on_open(
    serve_route: Serve, route: Any, path: str, opened: Any, expect_log: Any
) -> None:
    serve_route(Echo.routes(*route))
    if opened is None:
        with pytest.raises(Exception, match="404"):
            await HandPeer.connect(serve_route.port, path + "/")
        expect_log("404 GET")
        return
    peer = await HandPeer.connect(serve_route.port, path + "/")
    assert Echo.opened == [opened]
    await peer.socket.close()
    await until(lambda: Echo.closed)


def refuse_by_false(handler: SocketIOHandler) -> bool:
    return False


def refuse_by_error(handler: SocketIOHandler) -> None:
    raise HTTPError(401, "Please log in")


def refuse_by_close(handler: SocketIOHandler) -> None:
    handler.close()


async def refuse_later(handler: SocketIOHandler) -> bool:
    await asyncio.sleep(0)
    return False


@BOTH
@pytest.mark.parametrize(
    ("refuse", "told"),
    [
        (refuse_by_false, ["Refused", {"status": 403}]),
        (refuse_by_error, ["Please log in", {"status": 401}]),
        (refuse_by_close, ["Refused", {"status": 403}]),
        (refuse_later, ["Refused", {"status": 403}]),
    ],
)
async def test_on_open_may_refuse(
    serve_route: Serve, pages: Pages, transport: Any, refuse: Any, told: Any
) -> None:
    class Door(Echo):
        def on_open(self, *args: Any, **kwargs: Any) -> Any:
            self.send("nobody gets this")
            return refuse(self)

    options = {"path": "/door", **transport}
    await pages.do("open", "mallory", serve_route(Door.routes("door")), options)
    assert await pages.event("mallory", "connect_error") == told
    assert Echo.closed == []


async def test_an_on_open_that_fails_refuses_and_is_logged(
    serve_route: Serve, pages: Pages, expect_log: Any
) -> None:
    class Door(Echo):
        def on_open(self, *args: Any, **kwargs: Any) -> Any:
            raise KeyError("the database")

    await pages.do("open", "alice", serve_route(Door.routes("door")), {"path": "/door"})
    assert await pages.event("alice", "connect_error") == ["Internal error", {"status": 500}]
    expect_log("Unhandled exception in on_open of Door, client 127.0.0.1")


async def test_a_failing_method_is_logged_and_the_connection_stays(
    serve_route: Serve, pages: Pages, expect_log: Any
) -> None:
    class Fragile(Echo):
        def on_message(self, message: Any) -> Any:
            self.send(10 / message)

        def on_close(self) -> None:
            super().on_close()
            raise RuntimeError("on the way out")

    await pages.open("alice", serve_route(Fragile.routes("echo")), path="/echo", **POLLING)
    for number in (0, 5):
        await pages.emit("alice", "message", number)
    assert [await pages.event("alice", "message") for _ in range(2)] == [["hello"], [2]]
    await pages.do("close", "alice")
    await until(lambda: Echo.closed)
    expect_log("Unhandled exception in on_message of Fragile")
    expect_log("Unhandled exception in on_close of Fragile")


async def test_a_message_waits_for_the_one_before_it(serve_route: Serve, pages: Pages) -> None:
    class Patient(Echo):
        async def on_message(self, message: Any) -> Any:
            if message == "slow":
                await asyncio.sleep(0.05)
            self.send(message)
            return len(message)

        async def on_close(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            super().on_close()

    await pages.open("alice", serve_route(Patient.routes("echo")), path="/echo")
    await pages.emit("alice", "message", "slow")
    assert await pages.call("alice", "message", "quick") == 5
    expected = [["hello"], ["slow"], ["quick"]]
    assert [await pages.event("alice", "message") for _ in range(3)] == expected
    await pages.do("close", "alice")
    await until(lambda: Echo.closed)


async def test_decimals_are_sent_as_exact_numbers(serve_route: Serve) -> None:
    class Text(str):
        __slots__ = ()

    serve_route(Echo.routes("echo"))
    peer = await HandPeer.connect(serve_route.port, "/echo/")
    assert await peer.event() == ["message", "hello"]
    Echo.live[0].send({"price": [Decimal("1.10"), (Decimal(2), Text("safe"))]})
    assert await peer.packet() == '42["message",{"price":[1.10,[2,"safe"]]}]'
    with pytest.raises(TypeError):
        Echo.live[0].send(object())
    await peer.socket.close()
    await until(lambda: Echo.closed)


async def test_events_with_names_of_their_own(serve_route: Serve, pages: Pages) -> None:
    class Named(Echo):
        def on_event(self, name: str, *args: Any) -> Any:
            self.emit("heard", name, list(args))
            return sum(args)

    await pages.open("alice", serve_route(Named.routes("echo")), path="/echo")
    assert await pages.call("alice", "add", 1, 2) == 3
    assert await pages.event("alice", "heard") == ["add", [1, 2]]


async def test_enabled_protocols_leave_others_out(
    serve_route: Serve, pages: Pages, expect_log: Any
) -> None:
    url = serve_route(Echo.routes("echo"), enabled_protocols=["xhr-polling", "jsonp-polling"])
    await pages.open("alice", url, path="/echo")
    await pages.emit("alice", "message", 1)
    assert await pages.do("transport", "alice") == "polling"
    options = {"path": "/echo", "reconnection": False, **WEBSOCKET}
    await pages.do("open", "bob", url, options)
    await pages.event("bob", "connect_error")
    expect_log("400 GET /echo/")

    url = serve_route(Echo.routes("echo"), enabled_protocols=["websocket", "flashsocket"])
    await pages.open("carol", url, path="/echo", **WEBSOCKET)
    options = {"path": "/echo", "reconnection": False, **POLLING}
    await pages.do("open", "dave", url, options)
    await pages.event("dave", "connect_error")
    expect_log("400 GET /echo/")


async def test_old_settings_of_flash_are_ignored_with_a_warning(
    serve_route: Serve, expect_log: Any
) -> None:
    serve_route(Echo.routes("echo"), flash_policy_port=8043, flash_policy_file="/nowhere")
    for _ in range(2):
        peer = await HandPeer.connect(serve_route.port, "/echo/")
        await peer.socket.close()
    expect_log("flash_policy_file is ignored: there is no Flash any more")
    expect_log("flash_policy_port is ignored: there is no Flash any more")
    await until(lambda: len(Echo.closed) == 2)


def test_a_class_without_on_message_is_refused_at_once() -> None:
    class Deaf(SocketIOHandler):
        pass

    with pytest.raises(TypeError, match="expected Deaf to define on_message"):
        Deaf.routes("deaf")


async def test_the_server_listens_where_the_settings_say() -> None:
    port = free_port()
    server = SocketIOServer(Application([Echo.routes("echo")], socket_io_port=port))
    peer = await HandPeer.connect(port, "/echo/")
    assert await peer.event() == ["message", "hello"]
    await peer.socket.close()
    await until(lambda: Echo.closed)
    server.stop()
    await server.close_all_connections()
    with pytest.raises(ValueError, match=r"expected names of .*, got \['carrier-pigeon'\]"):
        SocketIOServer(Application([], enabled_protocols=["carrier-pigeon"]))


async def test_without_a_setting_the_server_listens_on_8888() -> None:
    asked: list[int] = []

    class Silent(SocketIOServer):
        def listen(self, port: int, *args: Any, **options: Any) -> Any:
            asked.append(port)  # the port itself may be somebody's

    Silent(Application([Echo.routes("echo")])).stop()
    assert asked == [8888]


PROGRAM = """
FIRST
from snorky.request_handlers.socketio import SocketIOHandler, SocketIOServer
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application

class Echo(SocketIOHandler):
    def on_message(self, message):
        self.send(message)

application = Application([Echo.routes("echo")], socket_io_port=PORT)
START
print("Bye")
"""
STARTS = {
    "SocketIOServer": "SocketIOServer(application)",
    "HTTPServer": """
HTTPServer(application).listen(PORT)
try:
    IOLoop.instance().start()
except KeyboardInterrupt:
    pass
""",
}


async def connected(port: int) -> HandPeer:
    """A peer of a program that is being started."""
    async with asyncio.timeout(patient(20)):
        while True:
            try:
                return await HandPeer.connect(port, "/echo/")
            except OSError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
async def test_a_program_runs_as_they_always_did(
    run_program: Callable[..., Any], tmp_path: Path, start: str
) -> None:
    port = free_port()
    file = tmp_path / "program.py"
    text = PROGRAM.replace("FIRST", "").replace("START", start)
    file.write_text(text.replace("PORT", str(port)))
    program = run_program([sys.executable, "-W", "error", str(file)])
    peer = await connected(port)
    await peer.emit("message", {"a": 1})
    assert await peer.event() == ["message", {"a": 1}]
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines == ["Bye"]
    await peer.socket.close()


PRESSED_WHILE_WRITING = """
from tornado.iostream import IOStream
write = IOStream.write
def write_or_interrupt(self, data):
    if b"press" in bytes(data):
        raise KeyboardInterrupt
    return write(self, data)
IOStream.write = write_or_interrupt
"""


async def test_the_interrupt_key_pressed_while_something_is_written_stops_the_program(
    run_program: Callable[..., Any], tmp_path: Path
) -> None:
    port = free_port()
    file = tmp_path / "program.py"
    text = PROGRAM.replace("FIRST", PRESSED_WHILE_WRITING).replace("START", STARTS["HTTPServer"])
    file.write_text(text.replace("PORT", str(port)))
    program = run_program([sys.executable, "-W", "error", str(file)])
    peer = await connected(port)
    await peer.emit("message", "press")
    assert await asyncio.to_thread(program.end) == 0
    assert program.lines == ["Bye"]
    await peer.socket.close()


def test_the_server_is_tornado_s() -> None:
    assert issubclass(SocketIOServer, HTTPServer)
