"""The life of a subscription once it is authorised: acquired, cancelled, expired."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from snorky.metrics import metrics
from snorky.services.base import rpc_command
from snorky.services.datasync import BroadcastDealer, DataSyncBackend, DataSyncService
from snorky.testing import FakeClient, async_call, call
from tests.patience import patient

BLUE = ["==", "color", "blue"]


# Acquiring


@pytest.mark.parametrize("command", ["acquireSubscription", "cancelSubscription"])
def test_a_token_must_be_a_known_string(
    datasync: Any, page: Any, command: str, refused: Any
) -> None:
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


def test_a_token_is_acquired_once(
    app: Any, datasync: Any, page: Any, other_page: Any, refused: Any
) -> None:
    token = app.subscribe(page, ("AllPlayers", None))
    for client in (page, other_page):
        error = refused(datasync, client, "acquireSubscription", token=token)
        assert error == "No such subscription"


def test_only_its_client_cancels_a_subscription(
    app: Any, datasync: Any, page: Any, other_page: Any, delta: Any, refused: Any
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
    app: Any, datasync: Any, page: Any, other_page: Any, witness: Any, delta: Any
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


def test_any_hashable_object_with_send_may_subscribe(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    class Peer:
        def __init__(self) -> None:
            self.received: list[Any] = []

        def send(self, msg: Any) -> None:
            self.received.append(msg)

    peer = Peer()
    token = app.authorize(("players", BLUE))
    app.publish(delta.insert({"color": "blue"}))
    call(datasync, peer, "acquireSubscription", token=token)
    app.subscribe(page, ("players", BLUE))
    app.publish(delta.delete({"color": "blue"}))
    datasync.client_disconnected(peer)
    app.publish(delta.insert({"color": "blue"}))

    assert [envelope["message"]["delta"] for envelope in peer.received] == [
        delta.insert({"color": "blue"}),
        delta.delete({"color": "blue"}),
    ]
    assert page.deltas == [delta.delete({"color": "blue"}), delta.insert({"color": "blue"})]


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
    app: Any, datasync: Any, page: Any, other_page: Any, refused: Any, limit: Any
) -> None:
    limit(datasync, max_subscriptions=2)
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


async def test_an_override_may_decide_asynchronously(clock: Any, page: Any, delta: Any) -> None:
    class Careful(DataSyncService):
        @rpc_command
        async def acquireSubscription(  # type: ignore[override]
            self, req: Any, token: Any
        ) -> None:
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


# Expiring


def test_a_token_that_nobody_acquires_dies(
    app: Any, datasync: Any, page: Any, clock: Any, witness: Any, delta: Any, refused: Any
) -> None:
    expired = metrics.tokens_expired
    token = app.authorize(("witness", BLUE))
    (item,) = witness.get_subscription_items_for_model({"color": "blue"})
    app.publish(delta.insert({"color": "blue"}))
    clock.advance(119)
    assert witness.log == [("add", BLUE)]
    clock.advance(1)
    assert witness.log == [("add", BLUE), ("remove", BLUE)]
    assert metrics.tokens_expired == expired + 1
    assert item.subscription.take_kept() == []
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
    call(
        backend,
        FakeClient(),
        "authorizeSubscription",
        items=[{"dealer": "AllPlayers", "query": None}],
    )
    assert [timer.due for timer in clock.timers] == [5]
    assert backend.timeout_factory is clock


async def test_by_default_the_running_loop_keeps_the_time(
    datasync: Any, page: Any, refused: Any
) -> None:
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
    await asyncio.wait_for(ended.wait(), patient(10))
    assert refused(datasync, page, "acquireSubscription", token=token) == "No such subscription"


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
        datasync.classic._held,
        datasync.classic._by_token,
        datasync.classic._by_origin,
        datasync.classic._by_client,
        datasync.classic._pots._pots,
        datasync.classic._item_sets,
        *(dealer._queries for dealer in datasync.dealers.values()),
        *(dealer._query_by_item for dealer in datasync.dealers.values()),
        clock.timers,
    ):
        assert not table
    assert datasync.changes.classic_subscriptions == len(datasync.classic._pots) == 0


def test_a_query_forgets_the_subscriptions_that_left(
    app: Any, datasync: Any, page: Any, other_page: Any
) -> None:
    app.subscribe(page, ("players", BLUE))
    app.subscribe(other_page, ("players", BLUE), ("AllPlayers", None))
    (query,) = datasync.dealers["players"].get_matching_queries({"color": "blue"})
    assert len(query.item_sets) == 2
    datasync.client_disconnected(other_page)
    assert len(query.item_sets) == len(query.items) == 1


def test_an_application_may_end_a_subscription_itself(
    app: Any, datasync: Any, page: Any, witness: Any, delta: Any
) -> None:
    app.subscribe(page, ("witness", BLUE))
    (item,) = witness.get_subscription_items_for_model({"color": "blue"})
    for _ in range(2):
        datasync.end_subscription(item.subscription)
    app.publish(delta.insert({"color": "blue"}))
    assert page.deltas == []
    assert witness.log == [("add", BLUE), ("remove", BLUE)]


def test_logs_never_contain_tokens(
    app: Any,
    datasync: Any,
    page: Any,
    other_page: Any,
    caplog: Any,
    clock: Any,
    refused: Any,
    limit: Any,
) -> None:
    caplog.set_level(logging.DEBUG)
    limit(datasync, max_subscriptions=1)
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
