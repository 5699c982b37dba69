"""Who hears of which delta, as what, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from snorky.audience import Audience
from snorky.deltas import BadDelta
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.services.base import RPCError
from snorky.services.datasync import (
    DataSyncBackend,
    DataSyncService,
    FilterDealer,
    InsertionDelta,
    SimpleDealer,
)
from snorky.testing import FakeClient, call

BLUE = ["==", "color", "blue"]
RED = ["==", "color", "red"]
ADULT = [">=", "age", 18]

Query = tuple[str, Any]


def player(color: str, **more: Any) -> dict[str, Any]:
    return {"color": color, **more}


# One item


def test_a_broadcast_dealer_tells_everybody_everything(
    app: Any, page: Any, other_page: Any, delta: Any
) -> None:
    app.subscribe(page, ("AllPlayers", None))
    app.subscribe(other_page, ("AllPlayers", ["any", "query"]))
    deltas = [
        delta.insert(player("blue")),
        delta.update(player("red"), player("blue")),
        delta.delete(player("red")),
    ]
    app.publish(*deltas)
    assert page.deltas == other_page.deltas == deltas


@pytest.mark.parametrize("item", [("players-by-color", "blue"), ("players", BLUE)])
def test_only_rows_of_the_query_are_told(app: Any, page: Any, item: Query, delta: Any) -> None:
    app.subscribe(page, item)
    app.publish(
        delta.insert(player("blue")),
        delta.insert(player("red")),
        delta.delete(player("red")),
        delta.delete(player("blue")),
    )
    assert page.deltas == [delta.insert(player("blue")), delta.delete(player("blue"))]


@pytest.mark.parametrize("item", [("players-by-color", "blue"), ("players", BLUE)])
def test_an_update_is_told_as_it_looks_through_the_query(
    app: Any, page: Any, item: Query, delta: Any
) -> None:
    app.subscribe(page, item)
    blue, blue_2, red, red_2 = (
        player("blue", n=1),
        player("blue", n=2),
        player("red", n=1),
        player("red", n=2),
    )
    app.publish(
        delta.update(blue, red),
        delta.update(blue_2, blue),
        delta.update(red, blue_2),
        delta.update(red_2, red),
    )
    assert page.deltas == [delta.insert(blue), delta.update(blue_2, blue), delta.delete(blue_2)]


@pytest.mark.parametrize(
    ("query", "key", "matches"),
    [
        (1, 1.0, True),
        (1, True, False),
        (True, True, True),
        (None, None, True),
        (0, None, False),
        ("1", 1, False),
        ([1, {"a": [2]}], [1.0, {"a": [2]}], True),
        ([1], [True], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
    ],
)
def test_a_simple_dealer_compares_as_json(
    app: Any, page: Any, query: Any, key: Any, matches: bool, delta: Any
) -> None:
    app.subscribe(page, ("players-by-color", query))
    app.publish(delta.insert({"color": key}))
    assert len(page.deltas) == matches


def test_the_key_of_a_simple_dealer_may_be_a_tuple(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    class ByBoth(SimpleDealer):
        model = "Player"

        def get_key_for_model(self, player: Any) -> Any:
            return player["color"], player["age"]

    datasync.register_dealer(ByBoth)
    app.subscribe(page, ("ByBoth", ["blue", 5]))
    app.publish(delta.insert(player("blue", age=5)), delta.insert(player("blue", age=6)))
    assert page.deltas == [delta.insert(player("blue", age=5))]


def test_a_model_nobody_deals_in_is_ignored(app: Any, page: Any, delta: Any) -> None:
    app.subscribe(page, ("AllPlayers", None))
    app.publish(delta.insert({}, model="Weather"), delta.insert({}))
    assert page.deltas == [delta.insert({})]


# Several items: the union


UNION = [("players", BLUE), ("players", ADULT)]


@pytest.mark.parametrize(
    ("new", "old", "kind"),
    [
        # Each row: does BLUE match, does ADULT match?
        (player("blue", age=20), player("blue", age=20), "update"),
        (player("blue", age=9), player("blue", age=20), "update"),
        (player("red", age=20), player("blue", age=9), "update"),
        (player("red", age=20), player("red", age=9), "insert"),
        (player("blue", age=20), player("red", age=9), "insert"),
        (player("red", age=9), player("blue", age=20), "delete"),
        (player("red", age=9), player("red", age=20), "delete"),
        (player("red", age=9), player("red", age=8), None),
    ],
)
def test_a_subscription_sees_the_union_of_its_items(
    app: Any, page: Any, new: Any, old: Any, kind: str | None, delta: Any
) -> None:
    expected = {
        "update": [delta.update(new, old)],
        "insert": [delta.insert(new)],
        "delete": [delta.delete(old)],
        None: [],
    }[kind]
    app.subscribe(page, *UNION)
    app.publish(delta.update(new, old))
    assert page.deltas == expected


def test_one_notification_per_delta_however_many_items_and_dealers_match(
    app: Any, page: Any, delta: Any
) -> None:
    app.subscribe(
        page,
        ("AllPlayers", None),
        ("AllPlayers", None),
        ("players", BLUE),
        ("players", ["and"]),
        ("players-by-color", "blue"),
    )
    deltas = [delta.insert(player("blue")), delta.delete(player("blue"))]
    app.publish(*deltas)
    assert page.deltas == deltas


def test_a_subscription_may_span_models(app: Any, datasync: Any, page: Any, delta: Any) -> None:
    class Teams(FilterDealer):
        model = "Team"

    datasync.register_dealer(Teams)
    app.subscribe(page, ("Teams", ["and"]), ("players", BLUE))
    deltas = [delta.insert(player("blue")), delta.insert({"id": 1}, model="Team")]
    app.publish(*deltas, delta.insert(player("red")))
    assert page.deltas == deltas


def test_each_subscription_of_a_client_tells_it_once(
    app: Any, datasync: Any, page: Any, other_page: Any, delta: Any
) -> None:
    tokens = [app.subscribe(page, ("players", BLUE)) for _ in range(3)]
    app.subscribe(page, ("players", RED))
    app.subscribe(other_page, ("players", BLUE))
    app.publish(delta.insert(player("blue")))
    assert page.deltas == [delta.insert(player("blue"))] * 3
    assert other_page.deltas == [delta.insert(player("blue"))]

    # The middle one ends, and a new one takes its place.
    call(datasync, page, "cancelSubscription", token=tokens[1])
    app.publish(delta.delete(player("blue")))
    assert page.deltas[3:] == [delta.delete(player("blue"))] * 2
    app.subscribe(page, ("players", BLUE))
    app.publish(delta.insert(player("blue")))
    assert page.deltas[5:] == [delta.insert(player("blue"))] * 3
    assert len(other_page.deltas) == 3


def test_waiting_subscriptions_keep_what_matches_the_union(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    token = app.authorize(*UNION)
    app.publish(
        delta.update(player("red", age=20), player("blue", age=9)),
        delta.update(player("red", age=9), player("red", age=20)),
        delta.insert(player("red", age=9)),
    )
    call(datasync, page, "acquireSubscription", token=token)
    assert page.deltas == [
        delta.update(player("red", age=20), player("blue", age=9)),
        delta.delete(player("red", age=20)),
    ]


# Lists


def test_deltas_arrive_in_the_order_of_the_list(app: Any, page: Any, delta: Any) -> None:
    app.subscribe(page, ("players", BLUE))
    deltas = [
        make(player("blue", n=number))
        for number in range(20)
        for make in (delta.insert, delta.delete)
    ]
    app.publish(*deltas)
    assert page.deltas == deltas


def test_a_list_with_one_bad_delta_is_refused_whole(
    app: Any, backend: Any, page: Any, delta: Any
) -> None:
    app.subscribe(page, ("AllPlayers", None))
    good = delta.insert(player("blue"))
    for bad, error in (
        ({"type": "insert", "model": 5, "data": {}}, "model must be string"),
        ({"type": "upsert", "model": "Player", "data": {}}, "Invalid delta type"),
        ({"type": "insert", "model": "Player"}, "Missing field 'data'"),
        (None, "Missing field 'type'"),
    ):
        with pytest.raises(RPCError) as refusal:
            app.publish(good, bad, good)
        assert str(refusal.value) == error
    assert page.deltas == []


def test_publish_is_another_name(app: Any, backend: Any, page: Any, delta: Any) -> None:
    app.subscribe(page, ("AllPlayers", None))
    call(backend, FakeClient(), "publish", deltas=[delta.insert({})])
    assert page.deltas == [delta.insert({})]


def test_deltas_are_counted(app: Any, delta: Any) -> None:
    before = metrics.deltas
    app.publish(delta.insert({}), delta.delete({}))
    assert metrics.deltas == before + 2


# Sharing


class CountingFilters(FilterDealer):
    """Keeps its own word for what is found for a row."""

    name = "counting"
    model = "Player"

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []

    def get_matching_queries(self, row: Any) -> Any:
        queries = super().get_matching_queries(row)
        self.found.append(len(queries))
        return queries


def test_equal_queries_are_one_filter_found_once(app: Any, datasync: Any, delta: Any) -> None:
    dealer = datasync.register_dealer(CountingFilters())
    pages = [FakeClient() for _ in range(10)]
    for number, page in enumerate(pages):
        app.subscribe(page, ("counting", ["==", "n", 1 if number % 2 else 1.0]))
    app.subscribe(FakeClient(), ("counting", ["==", "n", True]))
    assert dealer.index.filters == 2
    app.publish(delta.insert({"n": 1}))
    app.publish(delta.update({"n": 2}, {"n": 1}))
    assert dealer.found == [1, 1, 0]
    for page in pages:
        assert [message["delta"]["type"] for message in page.messages] == ["insert", "delete"]


def test_a_filter_that_names_a_field_no_row_has_is_warned_of_once(
    app: Any, page: Any, delta: Any, expect_log: Any
) -> None:
    app.subscribe(page, ("players", ["==", "colour", "blue"]))
    app.subscribe(page, ("players", ["or", ["==", "skin.hue", 1], ["isnull", "club", True]]))
    for _ in range(2):
        app.publish(delta.insert({"id": 1, "color": "blue", "skin": {"shade": 2}}))
    app.subscribe(page, ("players", ["and", ["!=", "colour", "red"], ["==", "color", "red"]]))
    app.publish(delta.delete({"id": 1, "color": "blue", "skin": {"shade": 2}}))

    expect_log(
        'A filter of dealer "players" names the field "colour", which a row of model "Player" has '
        "not. It has: id, color, skin"
    )


def test_a_dealer_explains_how_a_delta_finds_its_filters(
    app: Any, datasync: Any, delta: Any
) -> None:
    dealer = datasync.register_dealer(CountingFilters())
    for number in range(50):
        app.subscribe(FakeClient(), ("counting", ["==", "n", number]))
    app.subscribe(FakeClient(), ("counting", ["!=", "n", 7]))
    told = dealer.explain(delta.insert({"n": 7}))
    assert (told.filters, told.candidates, told.hits, told.unindexed) == (51, 2, 1, 1)
    assert dealer.explain(delta.delete({"n": 8})).hits == 2
    moved = dealer.explain(delta.update({"n": 8}, {"n": 7}))
    assert (moved.candidates, moved.hits, moved.facts) == (4, 3, {"n": 8})
    renamed = delta.update({"n": 8, "name": "Eve"}, {"n": 8, "name": "Ann"})
    assert dealer.explain(renamed).candidates == 2
    with pytest.raises(BadDelta, match="Invalid delta type"):
        dealer.explain({"type": "upsert", "model": "Player"})


def test_a_list_of_a_thousand_subscribers_is_told_once_per_delta(
    app: Any, monkeypatch: Any, delta: Any
) -> None:
    sent: list[int] = []
    send = Audience.send

    def recording(audience: Audience, envelope: Envelope) -> None:
        sent.append(len(audience))
        send(audience, envelope)

    monkeypatch.setattr(Audience, "send", recording)
    for _ in range(1000):
        app.subscribe(FakeClient(), ("players", BLUE), ("players-by-color", "red"))
    app.publish(delta.insert(player("blue")), delta.update(player("red"), player("blue")))
    assert sent == [1000, 1000]


def test_what_all_hear_is_encoded_once_per_kind(app: Any, monkeypatch: Any, delta: Any) -> None:
    class Collecting(FakeClient):
        """Keeps the envelopes themselves."""

        envelopes: list[Any] = []

        def send(self, msg: Any) -> None:
            self.envelopes.append(msg)

    for query in (BLUE, RED, ["and"], ["or", BLUE, RED]):
        for _ in range(3):
            app.subscribe(Collecting(), ("players", query))
            app.authorize(("players", query))
    app.publish(delta.update(player("blue"), player("red")))
    # 3 inserts, 3 deletes, 6 updates
    assert len(Collecting.envelopes) == 12
    assert len({id(envelope) for envelope in Collecting.envelopes}) == 3


# Faults of dealers


def test_a_dealer_that_fails_for_a_row_matches_nobody_there(
    app: Any, datasync: Any, page: Any, other_page: Any, delta: Any, expect_log: Any
) -> None:
    class Strict(SimpleDealer):
        model = "Player"

        def get_key_for_model(self, player: Any) -> Any:
            return player["color"]

    datasync.register_dealer(Strict)
    app.subscribe(page, ("Strict", "blue"))
    app.subscribe(other_page, ("AllPlayers", None))
    deltas = [
        delta.insert({"no": "color"}),
        delta.update(player("blue"), {"id": 1}),  # partial old data
        delta.update({"id": 1}, player("blue")),
        delta.delete(player("blue")),
    ]
    app.publish(*deltas)
    assert page.deltas == [
        delta.insert(player("blue")),
        delta.delete(player("blue")),
        delta.delete(player("blue")),
    ]
    assert other_page.deltas == deltas
    for _ in range(3):
        record = expect_log('Dealer "Strict" failed on a row of model "Player"')
        assert record.exc_info
        assert record.exc_info[0] is KeyError


def test_a_shared_dealer_serves_each_service_under_its_name(delta: Any, clock: Any) -> None:
    class Players(FilterDealer):
        model = "Player"

    dealer = Players()
    services = [DataSyncService(name, [dealer]) for name in ("inside", "outside")]
    pages = [FakeClient(), FakeClient()]
    for service, page in zip(services, pages, strict=True):
        backend = DataSyncBackend("backend", service, timeout_factory=clock)
        items = [{"dealer": "Players", "query": BLUE}]
        token = call(backend, FakeClient(), "authorizeSubscription", items=items)
        call(service, page, "acquireSubscription", token=token)
    services[0].publish_deltas([InsertionDelta("Player", player("blue"))])
    assert [envelope["service"] for page in pages for envelope in page.received] == [
        "inside",
        "outside",
    ]
