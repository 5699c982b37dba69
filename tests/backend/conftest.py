"""Real servers: Snorky itself, and one that records what it is sent and fails as it is told."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from websockets.sync.client import ClientConnection, connect

from snorky import ServiceRegistry
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import BroadcastDealer, FilterDealer
from snorky.services.pubsub import PubSubBackend, PubSubService
from tests.patience import patient

DEADLINE_SECONDS = patient(10)


@dataclass
class Recorded:
    """One request, as it arrived."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: tuple[str, int]  # the client's end: two requests on one connection share it

    @property
    def envelope(self) -> Any:
        return json.loads(self.body)

    @property
    def params(self) -> Any:
        return self.envelope["message"]["params"]


@dataclass
class Backend:
    """What a test sees of the server: ``requests``, and how the next ones are answered."""

    server: ThreadingHTTPServer
    url: str
    requests: list[Recorded] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    answer: Callable[["_Handler", Recorded], None] = field(
        default=lambda handler, request: handler.reply(request, {"type": "response", "data": None})
    )

    def answers(self, data: Any) -> None:
        """Answer every call with this value."""
        self.answer = lambda handler, request: handler.reply(
            request, {"type": "response", "data": data}
        )

    def refuses(self, text: str) -> None:
        """Answer every call with this RPC error."""
        self.answer = lambda handler, request: handler.reply(
            request, {"type": "error", "callId": None, "message": text}
        )

    def sends(self, status: int, body: bytes, reason: str | None = None) -> None:
        """Answer with this status and body."""
        self.answer = lambda handler, request: handler.respond(status, body, reason)

    def hangs(self) -> None:
        """Answer nothing until the test ends."""
        self.answer = lambda handler, request: handler.wait_for(self.release)

    def hangs_up(self) -> None:
        """Close the connection instead of answering."""
        self.answer = lambda handler, request: handler.hang_up()

    def commands(self) -> list[str]:
        return [request.envelope["message"]["command"] for request in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the default refuses the sixth of several that come at once


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend: Backend

    def do_POST(self) -> None:
        request = Recorded(
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(int(self.headers["Content-Length"])),
            self.client_address,
        )
        self.backend.requests.append(request)
        self.backend.answer(self, request)

    def reply(self, request: Recorded, message: Any) -> None:
        envelope = {"service": request.envelope["service"], "message": message}
        self.respond(200, json.dumps(envelope).encode())

    def respond(self, status: int, body: bytes, reason: str | None = None) -> None:
        self.send_response(status, reason)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def wait_for(self, event: threading.Event) -> None:
        event.wait(DEADLINE_SECONDS)
        self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[Backend]:
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    handler.backend = Backend(server, f"http://127.0.0.1:{server.server_port}/backend")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler.backend
    handler.backend.release.set()
    server.shutdown()
    thread.join(DEADLINE_SECONDS)
    server.server_close()


@pytest.fixture
def nobody() -> str:
    """The address of a backend that is not there: connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/backend"


@dataclass
class Server:
    """A real Snorky, in a thread of its own."""

    backend_url: str
    socket_url: str
    key: str


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Its parameter, if any, is the DataSyncService's ``relay``."""
    relay = getattr(request, "param", None)
    started: Future[tuple[Server, Callable[[], object]]] = Future()

    async def serve() -> None:
        frontend = DataSyncService("datasync", [AllTasks, OpenTasks], relay=relay)
        pubsub = PubSubService("pubsub")
        public = ServiceRegistry([frontend, pubsub])
        private = ServiceRegistry(
            [DataSyncBackend("datasync_backend", frontend), PubSubBackend("pubsub_backend", pubsub)]
        )
        options = {"service_registry": private, "api_key": "swordfish"}
        http = HTTPServer(
            Application(
                [
                    SnorkyWebSocketHandler.get_route(public, "/ws"),
                    ("/backend", BackendHTTPHandler, options),
                ],
                log_function=lambda handler: None,  # it logs when the test is already over
            )
        )
        [listening] = bind_sockets(0, "127.0.0.1")
        http.add_sockets([listening])
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        server = Server(f"http://{host}/backend", f"ws://{host}/ws", "swordfish")
        started.set_result((server, lambda: loop.call_soon_threadsafe(stop.set)))
        await stop.wait()
        http.stop()
        await http.close_all_connections()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    server, stop = started.result(DEADLINE_SECONDS)
    yield server
    stop()
    thread.join(DEADLINE_SECONDS)


class AllTasks(BroadcastDealer):
    model = "Task"


class OpenTasks(FilterDealer):
    model = "Task"


class Page:
    """A browser's end of the connection: calls commands, keeps the notifications that come."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.deltas: list[Any] = []
        self.frames: list[Any] = []

    def call(self, service: str, command: str, **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 1}
        self._socket.send(json.dumps({"service": service, "message": message}))
        while True:
            message = self._receive()
            if message["type"] == "response":
                return message["data"]
            if message["type"] == "delta":
                self.deltas.append(message["delta"])
            else:
                self.frames.append(message)

    def open(self, token: str) -> Any:
        """Open a token on the new wire; the one answer."""
        [answer] = self.call("datasync", "openSubscriptions", subscriptions=[{"token": token}])
        return answer

    def next_frame(self) -> Any:
        return self.frames.pop(0) if self.frames else self._receive()

    def next_delta(self) -> Any:
        if not self.deltas:
            message = self._receive()
            assert message["type"] == "delta", message
            self.deltas.append(message["delta"])
        return self.deltas.pop(0)

    def _receive(self) -> Any:
        return json.loads(self._socket.recv(timeout=DEADLINE_SECONDS))["message"]


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    with connect(server.socket_url) as socket:
        yield Page(socket)
