"""The life of a subscription: authorised, acquired, cancelled, expired, refused."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest

from snorky.limits import DEFAULT_LIMITS
from snorky.metrics import metrics
from snorky.services.base import RPCError
from snorky.services.datasync import (
    BadQuery,
    BroadcastDealer,
    DataSyncBackend,
    DataSyncService,
    Dealer,
    FilterDealer,
)
from snorky.testing import FakeClient, async_call, call
from snorky.wire import encode

BLUE = ["==", "color", "blue"]
ONE_ENVELOPE = encode(
    {
        "service": "datasync",
        "message": {
            "type": "delta",
            "delta": {"type": "insert", "model": "Player", "data": {"n": 0}},
        },
    }
)


class Witness(FilterDealer):
    """Remembers which items came and went."""

    name = "witness"
    model = "Player"

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, Any]] = []

    def add_subscription_item(self, item: Any) -> None:
        self.log.append(("add", item.query))
        super().add_subscription_item(item)

    def remove_subscription_item(self, item: Any) -> None:
        self.log.append(("remove", item.query))
        super().remove_subscription_item(item)


@pytest.fixture
def witness(datasync: Any) -> Witness:
    return datasync.register_dealer(Witness())


def refused(service: Any, client: Any, command: str, **params: Any) -> str:
    with pytest.raises(RPCError) as refusal:
        call(service, client, command, **params)
    return str(refusal.value)


def with_limits(service: Any, **limits: Any) -> None:
    service.limits = dataclasses.replace(DEFAULT_LIMITS, **limits)


# Authorising


def test_tokens_are_long_and_all_different(app: Any) -> None:
    tokens = {app.authorize(("AllPlayers", None)) for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 32


def test_a_token_is_text_that_fits_a_header(app: Any) -> None:
    token = app.authorize(("AllPlayers", None))
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([{"query": 1}], "Missing field 'dealer'"),
        ([{"dealer": "players"}], "Missing field 'query'"),
        (["players"], "Missing field 'dealer'"),
        ([{"dealer": 5, "query": 1}], "dealer should be a dealer name"),
        ([{"dealer": "nobody", "query": 1}], "No such dealer"),
        (
            [{"dealer": "players", "query": ["="]}],
            "unknown operator '='; expected one of ==, <, <=, >, >=, and, or, not",
        ),
    ],
)
def test_a_faulty_item_is_refused(backend: Any, clock: Any, items: Any, error: str) -> None:
    assert refused(backend, FakeClient(), "authorizeSubscription", items=items) == error
    assert clock.timers == []


def test_items_that_are_no_list_are_invalid_params(backend: Any, expect_log: Any) -> None:
    assert refused(backend, FakeClient(), "authorizeSubscription", items="x") == "Invalid params"
    expect_log("Invalid params")


def test_items_are_added_when_authorised(app: Any, witness: Witness) -> None:
    app.authorize(("witness", BLUE), ("witness", ["and"]))
    assert witness.log == [("add", BLUE), ("add", ["and"])]


def test_a_bad_query_undoes_the_items_already_added(
    app: Any, witness: Witness, clock: Any, page: Any, delta: Any
) -> None:
    with pytest.raises(RPCError, match="unknown operator"):
        app.authorize(("witness", BLUE), ("witness", ["and"]), ("witness", ["?"]))
    assert witness.log == [
        ("add", BLUE),
        ("add", ["and"]),
        ("add", ["?"]),
        ("remove", BLUE),
        ("remove", ["and"]),
    ]
    assert clock.timers == []
    assert list(witness.get_subscription_items_for_model({"color": "blue"})) == []


def test_an_unknown_dealer_is_found_before_any_item_is_added(app: Any, witness: Witness) -> None:
    with pytest.raises(RPCError, match="No such dealer"):
        app.authorize(("witness", BLUE), ("nobody", None))
    assert witness.log == []


def test_a_dealer_that_fails_to_add_is_an_internal_error_and_undone(
    datasync: Any, backend: Any, witness: Witness, clock: Any, expect_log: Any
) -> None:
    class Broken(BroadcastDealer):
        name = "broken"
        model = "Player"

        def add_subscription_item(self, item: Any) -> None:
            raise ZeroDivisionError

    datasync.register_dealer(Broken)
    web_application = FakeClient()
    backend.process_message_from(
        web_application,
        {
            "command": "authorizeSubscription",
            "params": {
                "items": [
                    {"dealer": "witness", "query": BLUE},
                    {"dealer": "broken", "query": None},
                ]
            },
        },
    )
    assert web_application.received[0]["message"]["message"] == "Internal error"
    assert witness.log == [("add", BLUE), ("remove", BLUE)]
    assert clock.timers == []
    expect_log("Unhandled exception in RPC service")


def test_the_number_of_unacquired_tokens_is_bounded(app: Any, datasync: Any, page: Any) -> None:
    with_limits(datasync, max_unacquired_tokens=2)
    token = app.authorize(("AllPlayers", None))
    app.authorize(("AllPlayers", None))
    with pytest.raises(RPCError, match=r"^Too many unacquired tokens$"):
        app.authorize(("AllPlayers", None))
    call(datasync, page, "acquireSubscription", token=token)
    app.authorize(("AllPlayers", None))


def test_the_number_of_items_is_bounded(app: Any, datasync: Any) -> None:
    with_limits(datasync, max_subscription_items=2)
    app.authorize(*[("AllPlayers", None)] * 2)
    with pytest.raises(RPCError, match=r"^Too many items$"):
        app.authorize(*[("AllPlayers", None)] * 3)


# Acquiring


@pytest.mark.parametrize("command", ["acquireSubscription", "cancelSubscription"])
def test_a_token_must_be_a_known_string(datasync: Any, page: Any, command: str) -> None:
    for no_string in (5, None, ["x"]):
        assert refused(datasync, page, command, token=no_string) == "token must be string"
    assert refused(datasync, page, command, token="x" * 43) == "No such subscription"


def test_what_happened_before_acquiring_comes_before_its_response(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    token = app.authorize(("AllPlayers", None))
    app.publish(delta.insert({"id": 1}), delta.insert({"id": 2}))
    app.publish(delta.delete({"id": 1}))
    datasync.process_message_from(
        page, {"command": "acquireSubscription", "params": {"token": token}, "callId": 0}
    )
    app.publish(delta.insert({"id": 3}))
    first, second, third, response, last = (envelope["message"] for envelope in page.received)
    assert [first["delta"], second["delta"], third["delta"], last["delta"]] == [
        delta.insert({"id": 1}),
        delta.insert({"id": 2}),
        delta.delete({"id": 1}),
        delta.insert({"id": 3}),
    ]
    assert response == {"type": "response", "callId": 0, "data": None}
    assert {envelope["service"] for envelope in page.received} == {"datasync"}


def test_a_token_is_acquired_once(app: Any, datasync: Any, page: Any, other_page: Any) -> None:
    token = app.subscribe(page, ("AllPlayers", None))
    for client in (page, other_page):
        error = refused(datasync, client, "acquireSubscription", token=token)
        assert error == "No such subscription"


def test_only_its_client_cancels_a_subscription(
    app: Any, datasync: Any, page: Any, other_page: Any, delta: Any
) -> None:
    token = app.authorize(("AllPlayers", None))
    # Nobody's yet:
    assert refused(datasync, page, "cancelSubscription", token=token) == "No such subscription"
    call(datasync, page, "acquireSubscription", token=token)
    error = refused(datasync, other_page, "cancelSubscription", token=token)
    assert error == "No such subscription"
    app.publish(delta.insert({"id": 1}))
    assert len(page.deltas) == 1

    assert call(datasync, page, "cancelSubscription", token=token) is None
    app.publish(delta.insert({"id": 2}))
    assert len(page.deltas) == 1
    for command in ("cancelSubscription", "acquireSubscription"):
        assert refused(datasync, page, command, token=token) == "No such subscription"


def test_a_client_that_left_hears_nothing_more(
    app: Any, datasync: Any, page: Any, other_page: Any, witness: Witness, delta: Any
) -> None:
    app.subscribe(page, ("witness", BLUE))
    app.subscribe(page, ("AllPlayers", None))
    app.subscribe(other_page, ("AllPlayers", None))
    datasync.client_disconnected(page)
    datasync.client_disconnected(FakeClient())  # one that never subscribed
    app.publish(delta.insert({"color": "blue"}))
    assert page.deltas == []
    assert len(other_page.deltas) == 1
    assert witness.log == [("add", BLUE), ("remove", BLUE)]


def test_a_client_that_left_while_an_override_decided_acquires_nothing(
    app: Any, datasync: Any, page: Any, other_page: Any, delta: Any
) -> None:
    token = app.authorize(("AllPlayers", None))
    page.connected = False
    call(datasync, page, "acquireSubscription", token=token)
    app.publish(delta.insert({"id": 1}))
    assert page.deltas == []
    # The token is still good: the page may come back with it.
    call(datasync, other_page, "acquireSubscription", token=token)
    assert len(other_page.deltas) == 1


def test_the_subscriptions_of_a_client_are_bounded(
    app: Any, datasync: Any, page: Any, other_page: Any
) -> None:
    with_limits(datasync, max_subscriptions=2)
    first = app.subscribe(page, ("AllPlayers", None))
    app.subscribe(page, ("AllPlayers", None))
    token = app.authorize(("AllPlayers", None))
    error = refused(datasync, page, "acquireSubscription", token=token)
    assert error == "Too many subscriptions"
    # Refusing did not use up the token.
    call(datasync, page, "cancelSubscription", token=first)
    call(datasync, page, "acquireSubscription", token=token)
    app.subscribe(other_page, ("AllPlayers", None))


def test_subscriptions_are_counted(app: Any, datasync: Any, page: Any) -> None:
    before = metrics.subscriptions
    token = app.subscribe(page, ("AllPlayers", None))
    app.subscribe(page, ("AllPlayers", None))
    app.authorize(("AllPlayers", None))
    assert metrics.subscriptions == before + 2
    call(datasync, page, "cancelSubscription", token=token)
    assert metrics.subscriptions == before + 1
    datasync.client_disconnected(page)
    assert metrics.subscriptions == before


# Expiring


def test_a_token_that_nobody_acquires_dies(
    app: Any, datasync: Any, page: Any, clock: Any, witness: Witness
) -> None:
    expired = metrics.tokens_expired
    token = app.authorize(("witness", BLUE))
    clock.advance(119)
    assert witness.log == [("add", BLUE)]
    clock.advance(1)
    assert witness.log == [("add", BLUE), ("remove", BLUE)]
    assert metrics.tokens_expired == expired + 1
    assert refused(datasync, page, "acquireSubscription", token=token) == "No such subscription"


def test_an_acquired_token_does_not_expire(
    app: Any, datasync: Any, page: Any, clock: Any, delta: Any
) -> None:
    token = app.authorize(("AllPlayers", None))
    (timer,) = clock.timers
    call(datasync, page, "acquireSubscription", token=token)
    assert clock.timers == []
    timer.callback()  # a factory whose cancel comes too late
    app.publish(delta.insert({"id": 1}))
    assert len(page.deltas) == 1


def test_the_interval_is_the_back_ends(datasync: Any, clock: Any) -> None:
    backend = DataSyncBackend("b", datasync, timeout_interval=5, timeout_factory=clock)
    assert (backend.frontend, backend.timeout_interval) == (datasync, 5)
    assert backend.timeout_factory is clock
    call(
        backend,
        FakeClient(),
        "authorizeSubscription",
        items=[{"dealer": "AllPlayers", "query": None}],
    )
    assert [timer.due for timer in clock.timers] == [5]


async def test_by_default_the_running_loop_keeps_the_time(datasync: Any, page: Any) -> None:
    import asyncio

    ended = asyncio.Event()

    class Farewell(BroadcastDealer):
        model = "Player"

        def remove_subscription_item(self, item: Any) -> None:
            super().remove_subscription_item(item)
            ended.set()

    datasync.register_dealer(Farewell)
    backend = DataSyncBackend("b", datasync, timeout_interval=0.01)
    items = [{"dealer": "Farewell", "query": None}]
    token = call(backend, FakeClient(), "authorizeSubscription", items=items)
    await asyncio.wait_for(ended.wait(), 10)
    assert refused(datasync, page, "acquireSubscription", token=token) == "No such subscription"


# Too much to keep


@pytest.mark.parametrize(
    "limit",
    [{"max_kept_deltas": 3}, {"max_kept_bytes": 3 * len(ONE_ENVELOPE)}],
    ids=["count", "bytes"],
)
def test_more_than_may_be_kept_ends_the_subscription_whole(
    limit: Any,
    app: Any,
    datasync: Any,
    page: Any,
    witness: Witness,
    delta: Any,
    clock: Any,
    expect_log: Any,
) -> None:
    with_limits(datasync, **limit)
    overflowed = metrics.tokens_overflowed
    doomed = app.authorize(("witness", ["and"]))
    kept = app.authorize(("witness", BLUE))
    for number in range(3):
        app.publish(delta.insert({"n": number}))
    assert witness.log[2:] == []
    app.publish(*[delta.insert({"n": number}) for number in range(3, 9)])
    app.publish(delta.insert({"color": "blue"}))
    assert witness.log[2:] == [("remove", ["and"])]
    assert metrics.tokens_overflowed == overflowed + 1
    record = expect_log("Too many deltas for a subscription that nobody has acquired")
    assert "witness" in record.getMessage()
    assert len(clock.timers) == 1  # the other one's

    # All or nothing: a part would be a gap that nobody sees.
    assert refused(datasync, page, "acquireSubscription", token=doomed) == "No such subscription"
    assert page.deltas == []
    call(datasync, page, "acquireSubscription", token=kept)
    assert len(page.deltas) == 1


def test_exactly_what_may_be_kept_is_delivered(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    with_limits(datasync, max_kept_deltas=3)
    token = app.authorize(("AllPlayers", None))
    app.publish(*[delta.insert({"n": number}) for number in range(3)])
    call(datasync, page, "acquireSubscription", token=token)
    app.publish(*[delta.insert({"n": number}) for number in range(3)])
    assert len(page.deltas) == 6


# Dealers come and go


def test_dealers_are_classes_or_instances_with_unique_names() -> None:
    class Players(BroadcastDealer):
        model = "Player"

    instance = Players()
    service = DataSyncService("datasync", dealers=[instance])
    with pytest.raises(RuntimeError, match=r"^Dealer with name 'Players' already is registered\.$"):
        service.register_dealer(Players)
    service.unregister_dealer(instance)
    registered = service.register_dealer(Players)
    assert isinstance(registered, Players)
    assert service.register_dealer(named := Named()) is named


class Named(BroadcastDealer):
    model = "Player"

    def __init__(self) -> None:
        super().__init__()
        self.name = "named-by-its-maker"


def test_a_dealer_is_named_after_its_class_unless_it_says_otherwise() -> None:
    class Inherits(Named):
        pass

    class Players(BroadcastDealer):
        model = "Player"

    class FewerPlayers(Players):
        pass

    class Property(Players):
        @property
        def name(self) -> str:  # type: ignore[override]
            return "asked"

    assert Players().name == Players.name == "Players"
    assert FewerPlayers().name == "FewerPlayers"
    assert Inherits().name == "named-by-its-maker"
    assert Witness().name == "witness"
    assert Property().name == "asked"


def test_a_dealer_needs_a_model() -> None:
    class Forgetful(BroadcastDealer):
        pass

    with pytest.raises(TypeError, match="model of dealer 'Forgetful' must be a string; got None"):
        DataSyncService("datasync", [Forgetful])


def test_an_abstract_dealer_cannot_be_registered() -> None:
    with pytest.raises(TypeError, match="abstract"):
        DataSyncService("datasync", [Dealer])


def test_an_unregistered_dealer_hears_nothing_but_gets_its_items_back(
    app: Any, datasync: Any, page: Any, witness: Witness, delta: Any
) -> None:
    token = app.subscribe(page, ("witness", BLUE))
    datasync.unregister_dealer(witness)
    app.publish(delta.insert({"color": "blue"}))
    assert page.deltas == []
    with pytest.raises(RPCError, match="No such dealer"):
        app.authorize(("witness", BLUE))

    # Another dealer of that name has nothing to do with the old one's items.
    successor = datasync.register_dealer(Witness())
    call(datasync, page, "cancelSubscription", token=token)
    assert witness.log == [("add", BLUE), ("remove", BLUE)]
    assert successor.log == []
    with pytest.raises(RuntimeError, match="not registered"):
        datasync.unregister_dealer(witness)


def test_a_dealer_that_fails_to_remove_does_not_keep_the_others_from_it(
    app: Any, datasync: Any, page: Any, witness: Witness, expect_log: Any
) -> None:
    class Broken(BroadcastDealer):
        name = "broken"
        model = "Player"

        def remove_subscription_item(self, item: Any) -> None:
            raise ZeroDivisionError

    datasync.register_dealer(Broken)
    app.subscribe(page, ("broken", None), ("witness", BLUE))
    datasync.client_disconnected(page)
    assert witness.log == [("add", BLUE), ("remove", BLUE)]
    expect_log('Dealer "broken" failed to remove an item')


# Nothing stays behind, nothing leaks out


def test_nothing_stays_behind(
    app: Any, datasync: Any, page: Any, other_page: Any, clock: Any, delta: Any
) -> None:
    items = [("players", BLUE), ("players-by-color", "red"), ("AllPlayers", None)]
    token = app.subscribe(page, *items)
    app.subscribe(page, *items)
    app.subscribe(other_page, items[0])
    app.authorize(*items)
    app.publish(delta.insert({"color": "blue"}))
    call(datasync, page, "cancelSubscription", token=token)
    clock.advance(120)
    for client in (page, other_page):
        datasync.client_disconnected(client)

    for table in (
        datasync._subscriptions_by_token,
        datasync._subscriptions_by_client,
        datasync._unacquired,
        datasync._item_sets,
        *(dealer._queries for dealer in datasync.dealers.values()),
        *(dealer._query_by_item for dealer in datasync.dealers.values()),
        clock.timers,
    ):
        assert not table


def test_logs_never_contain_tokens(
    app: Any, datasync: Any, page: Any, other_page: Any, caplog: Any, clock: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    with_limits(datasync, max_subscriptions=1)
    token = app.subscribe(page, ("AllPlayers", None))
    live = app.authorize(("AllPlayers", None))
    for command in ("acquireSubscription", "cancelSubscription"):
        refused(datasync, page, command, token=live)
        refused(datasync, other_page, command, token=token)
    clock.advance(120)
    assert "No such subscription in RPC service" in caplog.text
    assert "Too many subscriptions in RPC service" in caplog.text
    assert token not in caplog.text
    assert live not in caplog.text


def test_a_users_bad_query_is_the_answer(app: Any, datasync: Any) -> None:
    class Picky(BroadcastDealer):
        model = "Player"

        def add_subscription_item(self, item: Any) -> None:
            raise BadQuery("only on Sundays")

    datasync.register_dealer(Picky)
    with pytest.raises(RPCError, match=r"^only on Sundays$"):
        app.authorize(("Picky", None))


async def test_an_override_may_decide_asynchronously(clock: Any, page: Any, delta: Any) -> None:
    from snorky.services.base import rpc_command

    class Careful(DataSyncService):
        @rpc_command
        async def acquireSubscription(self, req: Any, token: Any) -> None:
            super().acquireSubscription(req, token)

    class Players(BroadcastDealer):
        model = "Player"

    service = Careful("datasync", [Players])
    backend = DataSyncBackend("backend", service, timeout_factory=clock)
    items = [{"dealer": "Players", "query": None}]
    token = call(backend, FakeClient(), "authorizeSubscription", items=items)
    await async_call(service, page, "acquireSubscription", token=token)
    call(backend, FakeClient(), "publishDeltas", deltas=[delta.insert({"id": 1})])
    assert len(page.deltas) == 1
