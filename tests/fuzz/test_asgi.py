"""ASGI: whatever scope a server hands over, and in whatever order its events come.

A server may be wrong, or its peer hostile: what goes back is still what ASGI allows.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.limits import Limits
from snorky.services.base import Service
from snorky.services.pubsub import PubSubBackend, PubSubService
from tests.fuzz.lengths import examples
from tests.fuzz.logs import no_fault_logged
from tests.fuzz.values import json_values, levels_of, same, texts
from tests.patience import patient

KEY = "swordfish"
COMET = ["/comet", "/comet/events", "/comet/poll", "/comet/messages", "/comet/close"]
LIMITS = Limits(
    max_message_bytes=500, max_backend_message_bytes=500, backend_timeout=0.05, close_timeout=0.05
)


class Echo(Service):
    def process_message_from(self, client: Any, msg: Any) -> None:
        self.send_message_to(client, msg)


def application() -> tuple[SnorkyASGI, ServiceRegistry]:
    pubsub = PubSubService("pubsub")
    frontend = ServiceRegistry([pubsub, Echo("echo")], limits=LIMITS)
    backend = ServiceRegistry([PubSubBackend("pubsub", pubsub), Echo("echo")], limits=LIMITS)
    quick: Any = {"heartbeat_interval": 0.2, "disconnect_delay": 0.2, "max_body_bytes": 1000}
    return SnorkyASGI(frontend, backend, KEY, comet_options=quick), frontend


header_values = st.one_of(
    st.binary(max_size=10),
    st.sampled_from(
        [
            *(b"http://localhost", b"null", b"http://evil.example", b"localhost", b"[::1]:80"),
            *(KEY.encode(), b"\xff", b"snorky", b"5", b"-1", b"9" * 30, b"\xb2", b"1_0", b" 5"),
            *(b'a=1; b="2"; =; ;', b"a=\x00", b"; " * 50, b"$Path=/; a"),
        ]
    ),
)
header_names = st.sampled_from(
    [b"origin", b"Origin", b"host", b"cookie", b"x-backend-key", b"content-length", b"\xff", b""]
)
headers = st.lists(st.tuples(header_names, header_values), max_size=4)
paths = st.sampled_from(
    [
        *COMET,
        "/mount/comet",
        "/ws",
        "/ws",
        "/ws/",
        "/backend",
        "/backend",
        "/",
        "",
        "//ws",
        "/mount/ws",
        "/mount/backend",
        "/none",
        "/\ud83d",
    ]
)


@st.composite
def scopes(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["websocket", "websocket", "http"]))
    scope: dict[str, Any] = {"type": kind, "path": draw(paths), "headers": draw(headers)}
    if kind == "http":
        scope["method"] = draw(st.sampled_from(["POST", "POST", "GET", "HEAD", "", "post"]))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "root_path": st.sampled_from(["", "/mount", "/mount/", "/ws", None]),
        "query_string": st.binary(max_size=12) | st.sampled_from([b"a=1&a=%ff&=&&", b"%", b";"]),
        "client": st.sampled_from([None, ["127.0.0.1", 1], ("unix", None), [None, 0], []]),
        "scheme": st.sampled_from(["ws", "wss", "https", "", None]),
        "subprotocols": st.sampled_from([None, [], ["snorky"], ["x", "snorky"], ["x"]]),
        "extensions": st.sampled_from([None, {}, {"websocket.http.response": {}}]),
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            scope[name] = draw(values)
    return scope


calls = st.builds(
    lambda service, message: {"service": service, "message": message},
    st.sampled_from(["echo", "pubsub", "none"]),
    json_values
    | st.fixed_dictionaries(
        {
            "command": st.sampled_from(["subscribe", "publish"]),
            "params": st.fixed_dictionaries({"channel": json_values, "message": json_values}),
        }
    ),
)
said = st.one_of(calls.map(json.dumps), json_values.map(json.dumps), texts, st.just("x" * 600))
events = st.one_of(
    said.map(lambda text: {"type": "websocket.receive", "text": text}),
    said.map(
        lambda text: {"type": "websocket.receive", "bytes": text.encode("utf-8", "surrogatepass")}
    ),
    st.sampled_from(
        [
            {"type": "websocket.receive"},
            {"type": "websocket.receive", "text": None, "bytes": None},
            {"type": "websocket.receive", "text": "", "bytes": b"x"},
            {"type": "websocket.connect"},
            {"type": "websocket.disconnect"},
            {"type": "websocket.disconnect", "code": None},
            {"type": "http.disconnect"},
            {"type": "http.request"},
        ]
    ),
    st.builds(
        lambda text, more: {
            "type": "http.request",
            "body": text.encode("utf-8", "replace"),
            "more_body": more,
        },
        said,
        st.booleans(),
    ),
)


class Server:
    """Hands over the events, then waits as a peer that says nothing, then says it has gone."""

    def __init__(self, scope: dict[str, Any], coming: list[dict[str, Any]], *, broken: int) -> None:
        self.scope = scope
        self.coming = coming
        self.sent: list[dict[str, Any]] = []
        self._broken = broken
        """After so many messages sending fails, as it does once the peer has gone."""

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self.coming:
            return self.coming.pop(0)
        for _ in range(20):  # time for what is to be sent
            await asyncio.sleep(0)
        kind = self.scope["type"]
        return {"type": f"{kind}.disconnect", "code": 1005}

    async def send(self, message: Any) -> None:
        if len(self.sent) >= self._broken:
            raise OSError("the peer has gone")
        self.sent.append(message)

    def check(self) -> None:
        kinds = [message["type"] for message in self.sent]
        for message in self.sent:
            for name, value in message.get("headers", ()):
                assert isinstance(name, bytes)
                assert isinstance(value, bytes)
                assert not {*b"\r\n\0"} & {*name, *value}, "a header that is more than one"
        if self.scope["type"] == "http" or "websocket.http.response.start" in kinds:
            prefix = "websocket." if self.scope["type"] == "websocket" else ""
            if not kinds:
                return
            assert kinds[0] == f"{prefix}http.response.start"
            assert set(kinds[1:]) <= {f"{prefix}http.response.body"}
            bodies = self.sent[1:]
            assert all(body.get("more_body", False) for body in bodies[:-1]), "behind the end"
            whole = bodies and not bodies[-1].get("more_body", False)
            length = dict(self.sent[0]["headers"]).get(b"content-length")
            if whole and length is not None:
                assert int(length) == sum(len(body.get("body", b"")) for body in bodies)
            return
        ends = [place for place, kind in enumerate(kinds) if kind == "websocket.close"]
        assert len(ends) <= 1
        assert not ends or ends == [len(kinds) - 1], "something is sent behind the close"
        if "websocket.accept" in kinds:
            assert kinds.index("websocket.accept") == 0
            assert kinds.count("websocket.accept") == 1
        else:
            assert set(kinds) <= {"websocket.close"}
        for message in self.sent:
            if message["type"] == "websocket.send":
                json.loads(message["text"] or "0")
                message["text"].encode()
            if message["type"] == "websocket.close":
                message.get("reason", "").encode()


@examples(200)
@given(
    scopes(), st.lists(events, max_size=6), st.booleans(), st.sampled_from([99, 99, 99, 0, 1, 2])
)
def test_what_goes_back_is_what_asgi_allows(
    scope: dict[str, Any], coming: list[dict[str, Any]], orderly: bool, broken: int
) -> None:
    if orderly and scope["type"] == "websocket":
        coming = [{"type": "websocket.connect"}, *coming]
    server = Server(scope, coming, broken=broken)
    app, frontend = application()

    async def story() -> None:
        async with asyncio.timeout(patient(20)):
            try:
                await app(scope, server.receive, server.send)
            except OSError:
                assert len(server.sent) >= broken, "an exception that nobody raised"
        await app.end_sessions()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1, "something is left behind"

    with no_fault_logged():
        asyncio.run(story())
    server.check()
    assert not frontend.clients


positions = st.sampled_from(["0", "0", "1", "2", "", "-1", "x", "9" * 20, "1&after=0"])
batches = st.builds(
    lambda first, after, texts: {"first": first, "after": after, "messages": texts},
    st.sampled_from([1, 1, 2, 3, 0, 10**16, "1", None, 1.0]),
    st.sampled_from([None, 0, 1, 99, -1, "1"]),
    st.lists(calls.map(json.dumps) | texts, max_size=3) | json_values,
)
asked = st.lists(
    st.tuples(
        st.sampled_from(COMET[1:]),
        positions,
        st.one_of(batches, batches, json_values).map(lambda body: json.dumps(body).encode()),
        st.sampled_from([99, 99, 99, 0, 1, 2, 3]),
    ),
    max_size=8,
)


@examples(100)
@given(asked)
def test_whatever_is_asked_of_a_comet_session_ends_well(many: list[tuple[Any, ...]]) -> None:
    app, frontend = application()
    servers: list[Server] = []

    async def ask(path: str, query: str, body: bytes, broken: int) -> bytes:
        method = "GET" if path in ("/comet/events", "/comet/poll") else "POST"
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
        server = Server(scope, [{"type": "http.request", "body": body}], broken=broken)
        servers.append(server)
        await app(scope, server.receive, server.send)
        return b"".join(message.get("body", b"") for message in server.sent)

    async def story() -> None:
        async with asyncio.timeout(patient(20)):
            session = json.loads(await ask("/comet", "", b"", 99))["session"]
            for path, position, body, broken in many:
                await ask(path, f"session={session}&after={position}", body, broken)
        await app.end_sessions()
        await asyncio.sleep(0)
        assert not frontend.clients
        assert len(asyncio.all_tasks()) == 1, "something is left behind"

    with no_fault_logged():
        asyncio.run(story())
    for server in servers:
        server.check()


@examples(100)
@given(st.lists(calls, max_size=4), st.booleans())
def test_what_is_said_in_order_is_answered_in_order(many: list[Any], as_bytes: bool) -> None:
    coming: list[dict[str, Any]] = [{"type": "websocket.connect"}]
    for call in many:
        text = json.dumps({"service": "echo", "message": call["message"]})
        if len(text) < LIMITS.max_message_bytes:
            coming.append(
                {
                    "type": "websocket.receive",
                    **({"bytes": text.encode()} if as_bytes else {"text": text}),
                }
            )
    expected = [json.loads(event.get("text") or event["bytes"]) for event in coming[1:]]
    server = Server({"type": "websocket", "path": "/ws", "headers": []}, coming, broken=99)
    app, _ = application()
    with no_fault_logged():
        asyncio.run(app(server.scope, server.receive, server.send))
    server.check()
    answers = [json.loads(m["text"]) for m in server.sent if m["type"] == "websocket.send"]
    expected = [value for value in expected if levels_of(value["message"]) <= 128]
    assert len(answers) == len(expected)
    assert all(map(same, answers, expected))
