"""From text to the service it is addressed to; who is told what; who may connect."""

import asyncio
import json
import logging
from typing import Any

import pytest

from snorky import ServiceRegistry, visit
from snorky.identity import Handshake, Refused
from snorky.limits import Limits
from snorky.service_registry import ServiceRegistry as SameServiceRegistry
from snorky.services.base import RPCService, Service
from snorky.testing import FakeClient


class Recorder(Service):
    """Keeps what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told: list[tuple[Any, ...]] = []

    def process_message_from(self, client: Any, msg: Any) -> None:
        self.told.append(("message", client, msg))

    def client_connected(self, client: Any) -> None:
        self.told.append(("connected", client))

    def client_disconnected(self, client: Any) -> None:
        self.told.append(("disconnected", client))

    @property
    def messages(self) -> list[Any]:
        return [entry[2] for entry in self.told if entry[0] == "message"]


class Faulty(Service):
    def process_message_from(self, client: Any, msg: Any) -> None:
        raise RuntimeError("out of order")

    def client_disconnected(self, client: Any) -> None:
        raise RuntimeError("out of order")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder("recorder")


@pytest.fixture
def registry(recorder: Recorder) -> ServiceRegistry:
    return ServiceRegistry([recorder])


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient(remote_address="192.0.2.1")


# Registering


def test_both_import_paths_name_the_same_class() -> None:
    assert SameServiceRegistry is ServiceRegistry


def test_services_are_known_by_name() -> None:
    one, other = Recorder("one"), Recorder("other")
    registry = ServiceRegistry([one])
    registry.register_service(other)

    assert registry.registered_services == {"one": one, "other": other}


def test_a_class_in_the_place_of_a_service_is_refused() -> None:
    with pytest.raises(TypeError, match=r"such as RPCService\('name'\); got the class"):
        ServiceRegistry([RPCService])


def test_a_registry_may_begin_empty() -> None:
    assert ServiceRegistry().registered_services == {}
    assert ServiceRegistry(services=[]).registered_services == {}


def test_two_registries_do_not_share_services(recorder: Recorder) -> None:
    frontend, backend = ServiceRegistry(), ServiceRegistry()
    frontend.register_service(recorder)

    assert backend.registered_services == {}


def test_an_unregistered_service_is_unknown(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient, expect_log: Any
) -> None:
    registry.unregister_service(recorder)
    registry.process_message_raw(alice, '{"service": "recorder", "message": 1}')

    assert recorder.told == []
    expect_log('Message for non existing service "recorder" from client 192.0.2.1')


def test_unregistering_what_is_not_registered_raises(registry: ServiceRegistry) -> None:
    with pytest.raises(KeyError):
        registry.unregister_service(Recorder("stranger"))


def test_unregistering_leaves_another_service_of_the_same_name_alone(
    registry: ServiceRegistry, recorder: Recorder
) -> None:
    with pytest.raises(KeyError):
        registry.unregister_service(Recorder("recorder"))
    assert registry.registered_services == {"recorder": recorder}


def test_limits_of_the_registry_are_those_of_its_services() -> None:
    limits = Limits(max_subscriptions=3)
    one, late = Recorder("one"), Recorder("late")
    registry = ServiceRegistry([one], limits=limits)
    registry.register_service(late)

    assert registry.limits is one.limits is late.limits is limits


def test_a_service_keeps_its_own_limits_where_the_registry_was_given_none() -> None:
    service = Recorder("one")
    service.limits = Limits(max_subscriptions=3)
    ServiceRegistry([service])

    assert service.limits.max_subscriptions == 3


# Messages


@pytest.mark.parametrize("text", ['{"service": "recorder", "message": ["größer"]}'])
def test_a_message_reaches_the_service_it_is_addressed_to(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient, text: str
) -> None:
    other = Recorder("other")
    registry.register_service(other)

    registry.process_message_raw(alice, text)
    registry.process_message_raw(alice, text.encode())
    registry.process_message_from(alice, json.loads(text))

    assert recorder.told == [("message", alice, ["größer"])] * 3
    assert other.told == []


@pytest.mark.parametrize("message", [None, False, 0, "", [], {}])
def test_any_json_value_is_a_message(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient, message: Any
) -> None:
    registry.process_message_raw(alice, json.dumps({"service": "recorder", "message": message}))

    assert recorder.messages == [message]


def test_what_else_an_envelope_holds_is_ignored(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient
) -> None:
    registry.process_message_raw(alice, '{"service": "recorder", "message": 1, "more": 2}')

    assert recorder.messages == [1]


def test_a_message_and_all_it_contains_can_be_keys(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient
) -> None:
    registry.process_message_raw(
        alice, '{"service": "recorder", "message": {"a": [1, {"b": []}], "c": {}}}'
    )
    registry.process_message_from(alice, {"service": "recorder", "message": [{"a": [1]}]})

    for message in (*recorder.messages, recorder.messages[0]["a"], recorder.messages[1][0]):
        assert {message: "found"}[message] == "found"


@pytest.mark.parametrize("text", ["hello", "", "{'service': 1}", '{"service": "recorder"', "NaN"])
def test_text_that_is_not_json_is_dropped_with_one_warning(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient, text: str, expect_log: Any
) -> None:
    registry.process_message_raw(alice, text)

    assert recorder.told == []
    assert alice.received == []
    line = expect_log("Invalid JSON").getMessage()
    assert line == f"Invalid JSON from client 192.0.2.1: {text}"


def test_bytes_that_are_not_utf8_are_dropped_with_one_warning(
    registry: ServiceRegistry, alice: FakeClient, expect_log: Any
) -> None:
    registry.process_message_raw(alice, b'"\xff"')

    expect_log('Invalid JSON from client 192.0.2.1: "�"', level=logging.WARNING)


@pytest.mark.parametrize(
    "msg",
    [
        "text",
        1,
        None,
        True,
        [],
        ["service", "message"],
        {},
        {"service": "recorder"},
        {"message": 1},
    ],
)
def test_an_envelope_that_lacks_a_key_is_dropped_with_one_warning(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient, msg: Any, expect_log: Any
) -> None:
    registry.process_message_raw(alice, json.dumps(msg))

    assert recorder.told == []
    assert alice.received == []
    line = expect_log("Malformed message", level=logging.WARNING).getMessage()
    assert line == f"Malformed message from client 192.0.2.1: {msg}"


@pytest.mark.parametrize("name", ["stranger", "", "Recorder", 1, None, ["recorder"], {"a": 1}])
def test_a_message_for_an_unknown_service_is_dropped_with_one_warning(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient, name: Any, expect_log: Any
) -> None:
    registry.process_message_raw(alice, json.dumps({"service": name, "message": 1}))

    assert recorder.told == []
    line = expect_log("Message for", level=logging.WARNING).getMessage()
    assert line == f'Message for non existing service "{name}" from client 192.0.2.1'


@pytest.mark.parametrize("levels", [129, 200, 500, 800, 950, 3_000, 30_000])
@pytest.mark.parametrize(
    "text",
    ['{"service": "recorder", "message": %s}', "%s", '{"service": %s, "message": 1}'],
)
def test_nesting_too_deep_is_dropped_with_one_warning(
    registry: ServiceRegistry,
    recorder: Recorder,
    alice: FakeClient,
    text: str,
    levels: int,
    expect_log: Any,
) -> None:
    registry.process_message_raw(alice, text % ("[" * levels + "]" * levels))
    registry.process_message_raw(alice, '{"service": "recorder", "message": "still here"}')

    assert recorder.messages == ["still here"]
    assert expect_log("from client 192.0.2.1").levelno == logging.WARNING


def test_nesting_of_128_levels_is_a_message_like_any_other(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient
) -> None:
    message = "[" * 128 + "]" * 128
    registry.process_message_raw(alice, f'{{"service": "recorder", "message": {message}}}')

    assert recorder.messages == [json.loads(message)]


def test_a_line_break_in_a_message_does_not_forge_a_log_line(
    registry: ServiceRegistry, alice: FakeClient, expect_log: Any
) -> None:
    registry.process_message_raw(alice, "hello\nERROR everything is lost")

    assert "\n" not in expect_log("Invalid JSON").getMessage()


def test_a_long_message_is_cut_in_the_log(
    registry: ServiceRegistry, alice: FakeClient, expect_log: Any
) -> None:
    registry.process_message_raw(alice, "x" * 60_000)

    assert len(expect_log("Invalid JSON").getMessage()) < 600


def test_a_client_that_sends_garbage_on_and_on_does_not_fill_the_log(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient, expect_log: Any
) -> None:
    for _ in range(200):
        registry.process_message_raw(alice, "garbage")
    registry.process_message_raw(FakeClient(remote_address="192.0.2.2"), "garbage")

    assert expect_log.all("Invalid JSON from client 192.0.2.1") == 100
    expect_log("Further lines about client 192.0.2.1 are not logged")
    expect_log("Invalid JSON from client 192.0.2.2")
    registry.process_message_raw(alice, '{"service": "recorder", "message": 1}')
    assert recorder.messages == [1]


def test_a_service_that_fails_costs_nobody_the_connection(
    alice: FakeClient, expect_log: Any
) -> None:
    registry = ServiceRegistry([Faulty("faulty")])

    registry.process_message_raw(alice, '{"service": "faulty", "message": 1}')

    record = expect_log('Unhandled exception in service "faulty"', level=logging.ERROR)
    assert "out of order" in str(record.exc_info[1])


def test_any_object_with_send_may_be_a_client(
    registry: ServiceRegistry, recorder: Recorder, expect_log: Any
) -> None:
    class Peer:
        def send(self, msg: Any) -> None:
            raise AssertionError("nothing is sent here")

    peer = Peer()
    registry.process_message_raw(peer, '{"service": "recorder", "message": 1}')
    registry.process_message_raw(peer, "garbage")

    assert recorder.told == [("message", peer, 1)]
    expect_log("Invalid JSON from client None: garbage")


# Clients that come and go


def test_every_service_is_told_of_clients_that_come_and_go(
    registry: ServiceRegistry, recorder: Recorder, alice: FakeClient
) -> None:
    other = Recorder("other")
    registry.register_service(other)

    registry.client_connected(alice)
    assert registry.clients == {alice}
    registry.client_disconnected(alice)

    assert recorder.told == other.told == [("connected", alice), ("disconnected", alice)]
    assert registry.clients == set()


def test_a_service_that_fails_on_a_disconnect_does_not_keep_it_from_the_others(
    alice: FakeClient, expect_log: Any
) -> None:
    last = Recorder("last")
    registry = ServiceRegistry([Faulty("faulty"), last])

    registry.client_disconnected(alice)

    assert last.told == [("disconnected", alice)]
    record = expect_log(
        'Unhandled exception in service "faulty" while client 192.0.2.1 disconnects'
    )
    assert record.exc_info is not None


def test_services_may_be_registered_while_clients_are_told(alice: FakeClient) -> None:
    class Growing(Service):
        def client_connected(self, client: Any) -> None:
            growing.register_service(Recorder("grown"))

        def client_disconnected(self, client: Any) -> None:
            growing.unregister_service(growing.registered_services["grown"])

    growing = ServiceRegistry()
    growing.register_service(Growing("growing"))

    growing.client_connected(alice)
    assert list(growing.registered_services) == ["growing", "grown"]
    growing.client_disconnected(alice)
    assert list(growing.registered_services) == ["growing"]


# Admission

HANDSHAKE = Handshake(
    path="/ws", headers={"Authorization": "Bearer alice"}, remote_address="192.0.2.1"
)


def name_in(handshake: Handshake) -> str:
    return handshake.headers["Authorization"].removeprefix("Bearer ")


async def name_in_later(handshake: Handshake) -> str:
    return name_in(handshake)


async def test_without_authenticate_everybody_is_anonymous() -> None:
    assert await ServiceRegistry().admit(HANDSHAKE) is None


@pytest.mark.parametrize("authenticate", [name_in, name_in_later])
async def test_authenticate_says_who_is_connecting(authenticate: Any) -> None:
    assert await ServiceRegistry(authenticate=authenticate).admit(HANDSHAKE) == "alice"


async def test_authenticate_may_be_overridden_plain_or_asynchronous() -> None:
    class Plain(ServiceRegistry):
        def authenticate(self, handshake: Handshake) -> Any:
            return name_in(handshake)

    class Later(ServiceRegistry):
        async def authenticate(self, handshake: Handshake) -> Any:
            return await name_in_later(handshake)

    assert await Plain().admit(HANDSHAKE) == "alice"
    assert await Later().admit(HANDSHAKE) == "alice"


async def test_authenticate_turns_a_peer_away() -> None:
    def refuse(handshake: Handshake) -> None:
        raise Refused(403, "Closed on Sundays")

    with pytest.raises(Refused) as refused:
        await ServiceRegistry(authenticate=refuse).admit(HANDSHAKE)
    assert (refused.value.status, refused.value.reason) == (403, "Closed on Sundays")


async def test_who_cannot_be_checked_does_not_come_in(expect_log: Any) -> None:
    async def fail(handshake: Handshake) -> None:
        raise OSError("the user database is away")

    with pytest.raises(Refused) as refused:
        await ServiceRegistry(authenticate=fail).admit(HANDSHAKE)
    assert (refused.value.status, refused.value.reason) == (500, "Internal error")
    record = expect_log("Unhandled exception while authenticating 192.0.2.1", level=logging.ERROR)
    assert "the user database is away" in str(record.exc_info[1])


def test_a_refusal_says_by_itself_that_the_peer_is_not_authenticated() -> None:
    assert (Refused().status, Refused().reason) == (401, "Not authenticated")


def test_a_call_of_too_many_objects_is_refused_and_answered(expect_log: Any) -> None:
    registry, client = ServiceRegistry([RPCService("rpc")]), FakeClient()
    many = f"[{','.join(['{}'] * 10_001)}]"
    for call_id in (7, None):
        call = f'"command": "x", "params": {{"a": {many}}}, "callId": {json.dumps(call_id)}'
        registry.process_message_raw(client, f'{{"service": "rpc", "message": {{{call}}}}}')

    error = {"type": "error", "callId": 7, "message": "Too many arrays and objects"}
    assert client.received == [{"service": "rpc", "message": error}]
    assert expect_log.all("Message of more than 10000 arrays and objects") == 2


async def test_a_peer_that_gives_up_while_it_is_checked_is_no_fault() -> None:
    class Registry(ServiceRegistry):
        async def authenticate(self, handshake: Handshake) -> None:
            await asyncio.sleep(3600)

    admitting = asyncio.ensure_future(Registry().admit(Handshake("/", {})))
    await asyncio.sleep(0)
    admitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await admitting


def test_a_service_that_fails_when_a_client_goes_is_logged(expect_log: Any) -> None:
    def fail(client: Any) -> None:
        raise ValueError("a bug")

    client = FakeClient(remote_address="192.0.2.1")
    visit.goes(client, fail, counted=False)
    assert not client.connected
    expect_log("Unhandled exception while disconnecting 192.0.2.1")
