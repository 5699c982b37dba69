"""Every door at once, over real connections: whatever is sent, the server stays up and serves."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tornado.netutil import bind_sockets
from tornado.web import Application
from websockets.frames import Opcode

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.request_handlers.comet import SnorkyCometHandler
from snorky.request_handlers.front_door import FrontDoor
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import Service
from snorky.services.pubsub import PubSubBackend, PubSubService
from tests.fuzz.lengths import examples
from tests.fuzz.logs import no_fault_logged
from tests.fuzz.values import json_values, texts
from tests.lines import DEADLINE, HANDSHAKE, RESET, Peer, masked, turns, until

LIMITS = Limits(max_message_bytes=2000, handshake_timeout=0.3, close_timeout=0.2, backend_timeout=1)
KEY = "swordfish"


class Echo(Service):
    def process_message_from(self, client: Any, msg: Any) -> None:
        self.send_message_to(client, msg)


@asynccontextmanager
async def site() -> AsyncIterator[tuple[ServiceRegistry, int]]:
    pubsub = PubSubService("pubsub")
    registry = ServiceRegistry([pubsub, Echo("echo")], limits=LIMITS)
    backend = ServiceRegistry([PubSubBackend("pubsub", pubsub), Echo("echo")], limits=LIMITS)
    websocket = SnorkyWebSocketHandler.get_route(registry, "/")
    quick: Any = {"disconnect_delay": 0.1, "heartbeat_interval": 0.2}
    routes = [
        websocket,
        *SnorkySockJSHandler.get_routes(registry, "/sockjs", max_body_bytes=4000, **quick),
        *SnorkyCometHandler.get_routes(registry, "/comet", max_body_bytes=4000, **quick),
        SnorkySocketIOHandler.get_route(registry, ping_interval=0.2, ping_timeout=0.2),
        ("/backend", BackendHTTPHandler, {"service_registry": backend, "api_key": KEY}),
    ]
    application = Application(routes, log_function=lambda handler: None)
    door = FrontDoor(application, [websocket], limits=LIMITS)
    listening = bind_sockets(0, "127.0.0.1")
    door.add_sockets(listening)
    try:
        yield registry, int(listening[0].getsockname()[1])
    finally:
        door.stop()
        await door.close_all_connections()


# Requests

sids = st.sampled_from(["s1", "s2", "a.b", "", "..", "%2e", "é", "x" * 300])
places = st.one_of(
    st.builds(
        "/sockjs/{}/{}/{}".format,
        st.sampled_from(["000", "srv", "a.b", "", "é"]),
        sids,
        st.sampled_from(
            [
                *("xhr", "xhr_send", "xhr_streaming", "eventsource", "htmlfile?c=cb", "htmlfile"),
                *("jsonp?c=cb", "jsonp?c=%0a", "jsonp_send", "websocket", "none", "jsonp?c=a&c=b"),
            ]
        ),
    ),
    st.builds("/sockjs{}".format, st.sampled_from(["", "/info", "/iframe-1.html", "/websocket"])),
    st.builds(
        "/comet{}?{}".format,
        st.sampled_from(["", "", "/", "/poll", "/events", "/messages", "/messages", "/close"]),
        st.builds(
            "session={}&after={}".format,
            st.one_of(st.just("$sid"), st.just("$sid"), sids),
            st.sampled_from(["0", "1", "-1", "x", "", "9" * 15, "9" * 40, "1&after=2"]),
        ),
    ),
    st.builds(
        "/socket.io/?EIO={}&transport={}{}".format,
        st.sampled_from(["4", "3", "", "x"]),
        st.sampled_from(["polling", "websocket", "x", "", "polling&j=0", "polling&b64=1"]),
        st.sampled_from(["", "&sid=x", "&sid=", "&sid=$sid", "&sid=$sid", "&t=1&sid=%ff"]),
    ),
    st.sampled_from(["/backend", "/", "/none", "*", "/?%ff"]),
)
fields = st.one_of(
    st.sampled_from(
        [
            *("Origin: http://localhost", "Origin: null", "Origin: http://evil.example", "Origin:"),
            *("Cookie: JSESSIONID=a", "Cookie: JSESSIONID=\xe9;=;\x01", 'Cookie: a="\\012"'),
            *(f"X-Backend-Key: {KEY}", "X-Backend-Key: \xff\xfe", "X-Backend-Key:"),
            *("Upgrade: websocket", "Connection: Upgrade", "Connection: close"),
            *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: x"),
            *("Content-Type: application/x-www-form-urlencoded", "Content-Type: text/plain"),
            *("Last-Event-ID: 3", "Last-Event-ID: x", "If-None-Match: *", "Range: bytes=0-1"),
            *("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: a\xe9,b"),
            *("Authorization: Bearer a.b.c", "Accept: text/event-stream", "Expect: 100-continue"),
        ]
    ),
    st.builds(
        "X-{}: {}".format,
        st.sampled_from(["Forwarded-For", "Real-Ip", "Scheme", "A"]),
        st.sampled_from(["1.2.3.4", "\xe9", "", "https", ","]),
    ),
)
calls = st.builds(
    lambda service, command, params: {
        "service": service,
        "message": {"command": command, "params": params, "callId": 1},
    },
    st.sampled_from(["echo", "pubsub", "none", None]),
    st.sampled_from(["subscribe", "publish", "leave", 1]),
    st.fixed_dictionaries({"channel": json_values, "message": json_values}) | json_values,
)
messages = st.one_of(calls, json_values).map(json.dumps)
bodies = st.one_of(
    messages.map(str.encode),
    st.lists(messages, max_size=3).map(lambda many: json.dumps(many).encode()),
    st.builds(
        lambda first, many, after: json.dumps(
            {"first": first, "messages": many, "after": after}
        ).encode(),
        st.sampled_from([1, 2, 0, -1, 10**20, 1.0, "1", None]),
        st.lists(messages, max_size=3) | json_values,
        st.sampled_from([0, 1, None, 10**14, -1, "0"]),
    ),
    texts.map(lambda text: b"d=" + text.encode("utf-8", "replace")),
    st.sampled_from([b"40", b'40\x1e42["echo",1]', b"4\x1e\x1e", b"b####", b"6", b"7", b"1", b"2"]),
    st.binary(max_size=30),
    st.sampled_from([b"[" * 3000, b"x" * 5000, b""]),
)
frames = st.lists(
    st.one_of(
        messages.map(lambda text: masked(Opcode.TEXT, text.encode())),
        st.lists(messages, max_size=2).map(lambda m: masked(Opcode.TEXT, json.dumps(m).encode())),
        bodies.map(lambda body: masked(Opcode.TEXT, body)),
        bodies.map(lambda body: masked(Opcode.BINARY, body)),
        st.sampled_from(
            [masked(Opcode.PING, b"x"), masked(Opcode.CLOSE, b"\x03\xe8"), b"\xff\xff"]
        ),
        st.sampled_from([b"2probe", b"5", b"40", b'42["echo",1]', b'40{"token":1}', b"9"]).map(
            lambda data: masked(Opcode.TEXT, data)
        ),
    ),
    max_size=4,
).map(b"".join)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    head = [
        f"{draw(st.sampled_from(['GET', 'POST', 'POST', 'OPTIONS', 'PUT', 'HEAD', 'DELETE']))} "
        f"{draw(places)} HTTP/1.1",
        "Host: localhost",
        *draw(st.lists(fields, max_size=4)),
    ]
    body = draw(bodies)
    if draw(st.booleans()):
        head.append(
            f"Content-Length: {max(0, len(body) + draw(st.sampled_from([0, 0, 0, -1, 1])))}"
        )
    else:
        head.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + body


@st.composite
def upgrades(draw: st.DrawFn) -> bytes:
    place = draw(
        st.sampled_from(
            [
                *("/", "/sockjs/websocket", "/sockjs/000/s1/websocket", "/sockjs/000/s2/websocket"),
                "/socket.io/?EIO=4&transport=websocket",
                "/socket.io/?EIO=4&transport=websocket&sid=$sid",
            ]
        )
    )
    head = [
        f"GET {place} HTTP/1.1",
        *("Host: localhost", "Upgrade: websocket", "Connection: Upgrade"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        *draw(st.lists(fields.filter(lambda field: ":" in field), max_size=2)),
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + draw(frames)


FORM = "Content-Type: application/x-www-form-urlencoded"
BEHIND_OPENINGS = {
    ("POST", "/comet"): ["/comet/messages?session=$sid", "/comet/close?session=$sid"],
    ("GET", "/socket.io/?EIO=4&transport=polling"): [
        "/socket.io/?EIO=4&transport=polling&sid=$sid"
    ],
    ("POST", "/sockjs/000/s1/xhr"): ["/sockjs/000/s1/xhr_send", "/sockjs/000/s1/jsonp_send"],
    ("GET", "/none"): ["/backend"],
}
"""Which paths take what is said, once that request has been answered."""


def request(method: str, path: str, body: bytes = b"", *more: str) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """What one connection sends: most of it makes sense where it comes."""
    opening = draw(st.sampled_from(sorted(BEHIND_OPENINGS)))
    said = [request(*opening)]
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            path = draw(st.sampled_from(BEHIND_OPENINGS[opening]))
            more = [f"X-Backend-Key: {KEY}", *draw(st.sampled_from([[], [FORM]]))]
            said.append(request("POST", path, draw(bodies), *more))
        else:
            said.append(draw(requests() | upgrades()))
    return said


async def offend(port: int, pieces: list[bytes]) -> None:
    """Say it all on one connection, take a little of the answer, and leave in the middle."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError, TimeoutError):
        sid = b"unknown"
        for piece in pieces:
            writer.write(piece.replace(b"$sid", sid))
            async with asyncio.timeout(0.05):
                answer = await reader.read(5000)
            named = re.search(rb'"(?:sid|session)":"([^"]+)"', answer)
            sid = named[1] if named else sid
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def tell(many: list[list[bytes]]) -> None:
    async with site() as (registry, port):
        bystander = await Peer.connect(port)
        async with asyncio.timeout(3 * DEADLINE):
            await asyncio.gather(*(offend(port, pieces) for pieces in many))
        for number in range(3):
            bystander.send_text(json.dumps({"service": "echo", "message": number}))
            assert json.loads(await bystander.text()) == {"service": "echo", "message": number}
        await bystander.leave()
        await until(lambda: not registry.clients)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
# Shrinking so many conversations takes longer than reading them.
@settings(examples(10), phases=[Phase.reuse, Phase.generate])
@given(many=st.lists(conversations(), min_size=10, max_size=10))
def test_whatever_is_sent_to_any_door_others_are_served(
    new_loop: Any, many: list[list[bytes]]
) -> None:
    with no_fault_logged(), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(tell(many))


HASTY = [
    request("POST", "/comet"),
    request("GET", "/comet/events?session=x"),
    request("GET", "/comet", b"a body"),
    request("GET", "/comet/poll?session=x", b"a body"),
    request("POST", "/comet/messages?session=x", b"{}"),
    request("GET", "/socket.io/?EIO=4&transport=polling"),
    request("POST", "/socket.io/?EIO=4&transport=polling&sid=x", b"40"),
    request("POST", "/sockjs/000/s1/xhr"),
    request("POST", "/sockjs/000/s1/xhr_streaming"),
    request("POST", "/sockjs/000/s1/xhr_send", b'["a"]'),
    request("GET", "/sockjs/000/s1/eventsource"),
    request("GET", "/sockjs/000/s1/htmlfile?c=x"),
    request("GET", "/sockjs/000/s1/jsonp?c=x"),
    request("GET", "/sockjs/info"),
    request("POST", "/backend", b'{"service":"echo","message":1}', f"X-Backend-Key: {KEY}"),
    *(
        HANDSHAKE.replace(b"GET /", b"GET " + path) + b"\r\n" + behind
        for path in (
            *(b"/", b"/sockjs/websocket", b"/sockjs/000/s1/websocket"),
            b"/socket.io/?EIO=4&transport=websocket",
        )
        for behind in (b"", masked(Opcode.TEXT, b"40"), masked(Opcode.CLOSE, b"\x03\xe8"))
    ),
]


async def test_who_leaves_before_it_is_answered_is_no_fault() -> None:
    """In the same packet, in the next turn, and by a reset."""
    with no_fault_logged():
        async with site() as (registry, port):
            for number, data in enumerate(HASTY * 12):
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    cut = len(data) - number // len(HASTY) % 3
                    sock.sendall(data[:cut])
                    await turns(number // len(HASTY))
                    sock.sendall(data[cut:])
                    if number % 2:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                await turns(number % 5)
            await until(lambda: not registry.clients)
