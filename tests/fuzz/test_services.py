"""Every command of every bundled service, with whatever params: answered once, others unharmed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from snorky import ServiceRegistry
from snorky.identity.jwt import JWTAuthenticator
from snorky.limits import Limits
from snorky.services.base import Request, RPCService, Service, rpc_command
from snorky.services.chat import ChatService
from snorky.services.cursors import CursorsService
from snorky.services.datasync import (
    BroadcastDealer,
    DataSyncBackend,
    DataSyncService,
    FilterDealer,
    SimpleDealer,
)
from snorky.services.identity import FirstMessageRegistry, IdentityBackend, IdentityService
from snorky.services.messaging import MessagingService
from snorky.services.pubsub import PubSubBackend, PubSubService
from snorky.testing import FakeClient, async_call, call
from tests.fuzz.lengths import examples
from tests.fuzz.logs import no_fault_logged
from tests.fuzz.values import json_values, levels_of, same, texts
from tests.identity.tokens import AUDIENCE, SECRET, token

MINE = "the bystander's"
ROW = {"id": 1, "color": MINE}
ERRORS_OF_OURS = ("Internal error", "Unhandled", "Traceback")
TOKENS = JWTAuthenticator(SECRET, algorithms=["HS256"], audience=AUDIENCE)


class Everything(BroadcastDealer):
    model = "Row"


class ByColor(SimpleDealer):
    model = "Row"

    def get_key_for_model(self, model: Any) -> Any:
        return model.get("color")


class ByFilter(FilterDealer):
    model = "Row"


class Typed(RPCService):
    """Parameters with annotations of many kinds, as applications write them."""

    @rpc_command
    def whole(self, req: Request, number: int, text: str = "", *, flag: bool = False) -> Any:
        return [number, text, flag]

    @rpc_command
    def fraction(self, req: Request, number: float) -> float:
        return number

    @rpc_command
    async def both(self, req: Request, value: int | str | None, many: list[float]) -> Any:
        return [value, many]

    @rpc_command
    def filed(self, req: Request, table: dict[str, list[int]]) -> int:
        return len({table: 1})  # hashable, as all that comes in

    @rpc_command
    def anything(self, req: Request, **params: Any) -> Any:
        return params


class Echo(Service):
    def process_message_from(self, client: Any, msg: Any) -> None:
        self.send_message_to(client, msg)


class Site:
    def __init__(self) -> None:
        self.pubsub = PubSubService("pubsub")
        self.datasync = DataSyncService("datasync", [Everything, ByColor, ByFilter])
        limits = Limits(max_subscriptions=20, max_unacquired_tokens=50)
        self.chat = ChatService("chat")
        self.cursors = CursorsService("cursors")
        self.messaging = MessagingService("messaging")
        people = [self.chat, self.cursors, self.messaging]
        self.frontend = ServiceRegistry(
            [self.pubsub, self.datasync, *people, Typed("typed"), Echo("echo")], limits=limits
        )
        self.frontend.register_service(IdentityService("identity", self.frontend, TOKENS))
        self.backend = ServiceRegistry(
            [
                PubSubBackend("pubsub", self.pubsub),
                DataSyncBackend("datasync", self.datasync),
                IdentityBackend("identity", self.frontend),
            ],
            limits=limits,
        )

    def new_client(self, identity: Any = None) -> FakeClient:
        client = FakeClient(identity)
        self.frontend.client_connected(client)
        return client


COMMANDS = sorted(
    {
        (service.name, command)
        for registry in (Site().frontend, Site().backend)
        for service in registry.registered_services.values()
        for command in getattr(service, "rpc_commands", ())
    }
)
PARAMS: dict[Any, list[str]] = {
    ("pubsub", "publish"): ["channel", "message"],
    "subscribe": ["channel"],
    "unsubscribe": ["channel"],
    "join": ["channel"],
    "leave": ["channel"],
    "publish": ["deltas"],
    "publishDeltas": ["deltas"],
    "authorizeSubscription": ["items"],
    "acquireSubscription": ["token"],
    "cancelSubscription": ["token"],
    "openSubscriptions": ["subscriptions"],
    "closeSubscriptions": ["subscriptions"],
    "takeLease": ["source"],
    "appendEntries": ["source", "fence", "entries", "place"],
    "passEnded": ["source", "fence", "asked"],
    "endLease": ["source", "fence"],
    "waitsFor": ["source"],
    "disconnect": ["identity"],
    ("chat", "send"): ["channel", "body"],
    ("chat", "read"): ["channel"],
    ("cursors", "join"): ["document"],
    ("cursors", "leave"): ["document"],
    "createCursor": ["privateHandle", "document", "position", "status"],
    "updateCursor": ["privateHandle", "newData"],
    "removeCursor": ["privateHandle"],
    ("messaging", "send"): ["sender", "dest", "body"],
    "registerParticipant": ["name"],
    "unregisterParticipant": ["name"],
    "refresh": ["token"],
    "whole": ["number", "text", "flag"],
    "fraction": ["number"],
    "both": ["value", "many"],
    "filed": ["table"],
}
NAMES = sorted({"req", "self", "client", *(name for names in PARAMS.values() for name in names)})

rows = st.dictionaries(st.sampled_from(["id", "color", "a", "a.b"]), json_values, max_size=3)
filters = st.recursive(
    st.tuples(
        st.sampled_from(["==", "<", "<=", ">", ">=", "?"]),
        st.sampled_from(["id", "color", "a.b", ""]),
        json_values,
    ).map(list),
    lambda parts: st.tuples(st.sampled_from(["and", "or", "not"]), parts, parts).map(list),
    max_leaves=5,
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["insert", "update", "delete", "?", 1]),
        "model": st.sampled_from(["Row", "Other", 1]),
        "data": rows | json_values,
        "newData": rows | json_values,
        "oldData": rows | json_values,
    },
)
items = st.fixed_dictionaries(
    {},
    optional={
        "dealer": st.sampled_from(["Everything", "ByColor", "ByFilter", "Nobody", None]),
        "query": filters | json_values,
    },
)
tokens = st.sampled_from(
    [
        token("bystander", exp=4e9),
        token("offender", exp=4e9),
        token("offender", exp=1),
        token("offender", exp=1e300),
        "a.b.c",
    ]
)
arguments = st.one_of(
    json_values,
    st.lists(deltas | json_values, max_size=3),
    st.lists(items | json_values, max_size=3),
    filters,
    tokens,
    st.sampled_from([MINE, "$token", "offender", 1, {"position": 1, "status": None}]),
)
params = st.one_of(st.dictionaries(st.sampled_from(NAMES) | texts, arguments, max_size=4))


@st.composite
def fitting_calls(draw: st.DrawFn) -> tuple[str, Any]:
    """A call with the names that its command takes: it gets past the signature more often."""
    service, command = draw(st.sampled_from(COMMANDS))
    names = PARAMS.get((service, command)) or PARAMS.get(command) or NAMES
    return service, {"command": command, "params": {name: draw(arguments) for name in names}}


@st.composite
def odd_calls(draw: st.DrawFn) -> tuple[Any, Any]:
    service = draw(
        st.sampled_from(
            ["pubsub", "datasync", "identity", "chat", "cursors", "messaging", "typed", "echo", "-"]
        )
    )
    command = draw(st.one_of(st.sampled_from([name for _, name in COMMANDS]), json_values))
    call = {"command": command, "params": draw(params | json_values)}
    for key in draw(st.sets(st.sampled_from(["command", "params"]), max_size=1)):
        if draw(st.integers(0, 3)) == 0:
            del call[key]
    return service, draw(st.sampled_from([call, call, call, list(call.values())]))


envelopes = st.one_of(fitting_calls(), fitting_calls(), odd_calls(), json_values)
steps = st.lists(st.tuples(st.sampled_from(["frontend", "backend"]), envelopes), max_size=12)


def answers(client: FakeClient) -> list[Any]:
    return [
        message["message"]
        for message in client.received
        if isinstance(message["message"], dict)
        and message["message"].get("type") in ("response", "error")
    ]


def with_tokens(value: Any, known: list[str]) -> Any:
    """Puts the last subscription token, at first the bystander's, where ``$token`` stands."""
    if value == "$token":
        return known[-1]
    if isinstance(value, dict):
        return {key: with_tokens(item, known) for key, item in value.items()}
    return value


async def tell(many: list[tuple[str, Any]]) -> None:
    site = Site()
    bystander, offender = site.new_client("bystander"), site.new_client("offender")
    site.pubsub.subscribe(Request(site.pubsub, bystander, {"command": 0, "params": 0}), MINE)
    backend = site.backend.registered_services["datasync"]
    mine = await async_call(
        backend, FakeClient(), "authorizeSubscription", items=[{"dealer": "ByColor", "query": MINE}]
    )
    await async_call(site.datasync, bystander, "acquireSubscription", token=mine)
    call(site.chat, bystander, "join", channel=MINE)
    call(site.cursors, bystander, "join", document=MINE)
    cursor = {"privateHandle": 1, "document": MINE, "position": 0, "status": 0}
    handle = call(site.cursors, bystander, "createCursor", **cursor)
    call(site.messaging, bystander, "registerParticipant", name=MINE)
    known = [mine]
    for number, (side, envelope) in enumerate(many):
        if isinstance(envelope, tuple):
            service, message = envelope
            message = with_tokens(message, known)
            if isinstance(message, dict):
                message["callId"] = number
            envelope = {"service": service, "message": message}
        text = json.dumps(envelope)
        if side == "frontend":
            client, registry = offender, site.frontend
        else:
            client, registry = FakeClient(), site.backend
        before = len(answers(client))
        registry.process_message_raw(client, text)
        pending = {
            task
            for service in registry.registered_services.values()
            for task in getattr(service, "tasks", ())
        }
        if pending:
            await asyncio.wait(pending)
        told = answers(client)[before:]
        if side == "frontend" and client.closed:
            return  # thrown out by a disconnect of the back end, or an expired token
        for answer in told:
            assert answer.get("message") not in ERRORS_OF_OURS, (envelope, answer)
        if is_call(envelope, registry) and envelope["service"] != "echo":
            assert len(told) == 1, (envelope, told)
            assert told[0]["callId"] == envelope["message"]["callId"]
            command, answered = envelope["message"]["command"], told[0]["type"] == "response"
            if side == "backend" and command == "authorizeSubscription" and answered:
                known.append(told[0]["data"])
    check_bystander(site, bystander)
    check_left_nothing(site, offender)
    assert call(site.messaging, bystander, "listParticipants") == [MINE]
    assert (
        call(site.chat, site.new_client("new"), "join", channel=MINE)["members"][0] == "bystander"
    )
    (left,) = call(site.cursors, site.new_client("new"), "join", document=MINE)["cursors"]
    assert (left["publicHandle"], left["position"], left["owner"]) == (handle, 0, "bystander")


def is_call(envelope: Any, registry: ServiceRegistry) -> bool:
    if not isinstance(envelope, dict) or not {"service", "message"} <= envelope.keys():
        return False
    message = envelope["message"]
    return (
        envelope["service"] in registry.registered_services
        and isinstance(message, dict)
        and {"command", "params"} <= message.keys()
        and levels_of(message) <= 128
    )


def check_bystander(site: Site, bystander: FakeClient) -> None:
    """It heard only what it asked for, and still hears it."""
    for envelope in bystander.received:
        message = envelope["message"]
        if envelope["service"] == "pubsub":
            assert message["type"] == "message"
            assert message["channel"] == MINE
        elif envelope["service"] == "chat":
            assert message["channel"] == MINE
            assert message["from"] == "offender"
        elif envelope["service"] == "cursors":
            assert message["cursor"]["document"] == MINE
            assert message["cursor"].get("owner", "offender") == "offender"
        elif envelope["service"] == "messaging":
            assert message["dest"] == MINE
            assert message["sender"] != MINE
        else:
            delta = message["delta"]
            rows_of = [delta.get(name, {}) for name in ("data", "newData", "oldData")]
            assert any(same(row.get("color"), MINE) for row in rows_of)
    if bystander.closed:
        return
    bystander.received.clear()
    site.pubsub.do_publish(MINE, "still there?")
    backend = site.backend.registered_services["datasync"]
    backend.process_message_from(
        FakeClient(),
        {
            "command": "publishDeltas",
            "params": {"deltas": [{"type": "insert", "model": "Row", "data": ROW}]},
        },
    )
    assert [message["type"] for message in bystander.messages] == ["message", "delta"]


def check_left_nothing(site: Site, offender: FakeClient) -> None:
    site.frontend.client_disconnected(offender)
    assert offender not in site.pubsub._topics_by_client
    assert not any(offender in topic.audience for topic in site.pubsub._topics._topics.values())
    assert offender not in site.datasync.classic._by_client
    assert offender not in site.datasync.pages.by_client
    assert offender not in site.chat._memberships
    assert offender not in site.cursors._sessions
    assert offender not in site.messaging._names_by_client


@example([("frontend", ("typed", {"command": "whole", "params": {"number": "\ud83d"}}))])
@examples(160)
@given(steps)
def test_every_call_is_answered_and_nobody_else_notices(many: list[tuple[str, Any]]) -> None:
    with no_fault_logged():
        asyncio.run(tell(many))


@examples(100)
@given(st.lists(envelopes | st.binary(max_size=20), max_size=5))
def test_who_has_not_said_who_it_is_reaches_no_service(many: list[Any]) -> None:
    heard: list[Any] = []

    class Secret(Service):
        def process_message_from(self, client: Any, msg: Any) -> None:
            heard.append(client.identity)

    async def story() -> None:
        registry = FirstMessageRegistry([Secret("echo"), Secret("pubsub")], authenticator=TOKENS)
        client = FakeClient()
        registry.client_connected(client)
        for envelope in many:
            if client.closed:
                break
            if isinstance(envelope, tuple):
                envelope = {"service": envelope[0], "message": envelope[1]}
            text = envelope if isinstance(envelope, bytes) else json.dumps(envelope)
            registry.process_message_raw(client, text)
            assert client.closed or client.identity, "who says anything else is disconnected"
        registry.client_disconnected(client)
        assert not registry.clients
        assert not registry._waiting
        assert not registry._attendance._timers

    with no_fault_logged():
        asyncio.run(story())
    assert None not in heard
