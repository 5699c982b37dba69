"""Dealers as users write them, against the methods that speak of single items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from snorky.services.datasync import (
    BroadcastDealer,
    DataSyncService,
    Dealer,
    DeletionDelta,
    FilterDealer,
    InsertionDelta,
    SimpleDealer,
    Subscription,
    SubscriptionItem,
    UpdateDelta,
    dealers,
)
from snorky.testing import FakeClient, call

BLUE = ["==", "color", "blue"]


class ByColor(Dealer):
    """The three methods, and nothing else."""

    model = "Player"

    def __init__(self) -> None:
        self.items: set[SubscriptionItem] = set()
        self.asked: list[Any] = []

    def add_subscription_item(self, item: SubscriptionItem) -> None:
        self.items.add(item)

    def remove_subscription_item(self, item: SubscriptionItem) -> None:
        self.items.remove(item)

    def get_subscription_items_for_model(self, player: Any) -> Iterator[SubscriptionItem]:
        self.asked.append(player)
        for item in self.items:
            if player["color"] == item.query:
                yield item


class DeliversItself(ByColor):
    def deliver_delta(self, delta: Any) -> None:
        for item in self.items:
            item.subscription.deliver_delta(delta)


def player(color: str, **more: Any) -> dict[str, Any]:
    return {"color": color, **more}


@pytest.fixture
def by_color(datasync: Any) -> ByColor:
    dealer = ByColor()
    datasync.register_dealer(dealer)
    return dealer


def test_an_item_tells_what_was_asked_and_by_whom(app: Any, by_color: ByColor, page: Any) -> None:
    token = app.authorize(("ByColor", ["a", {"b": 1}]), ("AllPlayers", None))
    (item,) = by_color.items
    assert (item.dealer_name, item.query) == ("ByColor", ["a", {"b": 1}])
    assert {item.query: "it can be a key"}
    subscription = item.subscription
    assert (subscription.token, subscription.client) == (token, None)
    assert [item.dealer_name for item in subscription.items] == ["ByColor", "AllPlayers"]
    call(subscription.service, page, "acquireSubscription", token=token)
    assert subscription.client is page


def test_updates_are_asked_old_row_first_and_told_as_they_look(
    app: Any, by_color: ByColor, page: Any, delta: Any
) -> None:
    app.subscribe(page, ("ByColor", "blue"))
    app.publish(
        delta.update(player("blue"), player("red")),
        delta.update(player("blue", n=1), player("blue")),
        delta.update(player("red"), player("blue", n=1)),
        delta.update(player("red", n=1), player("red")),
        delta.insert(player("blue")),
        delta.delete(player("blue")),
    )
    assert by_color.asked[:4] == [
        player("red"),
        player("blue"),
        player("blue"),
        player("blue", n=1),
    ]
    assert page.deltas == [
        delta.insert(player("blue")),
        delta.update(player("blue", n=1), player("blue")),
        delta.delete(player("blue", n=1)),
        delta.insert(player("blue")),
        delta.delete(player("blue")),
    ]


def test_a_row_without_fields_is_a_row(app: Any, datasync: Any, page: Any, delta: Any) -> None:
    class Everything(ByColor):
        def get_subscription_items_for_model(self, player: Any) -> Iterator[SubscriptionItem]:
            return iter(self.items)

    datasync.register_dealer(Everything)
    app.subscribe(page, ("Everything", None))
    app.publish(delta.insert({}), delta.update({}, {}), delta.delete({}))
    assert page.deltas == [delta.insert({}), delta.update({}, {}), delta.delete({})]


def test_an_iterable_that_fails_half_way_matches_nobody(
    app: Any, by_color: ByColor, page: Any, other_page: Any, delta: Any, expect_log: Any
) -> None:
    class Faulty(ByColor):
        def get_subscription_items_for_model(self, player: Any) -> Iterator[SubscriptionItem]:
            yield from self.items
            raise LookupError("half way")

    app.backend.frontend.register_dealer(Faulty)
    app.subscribe(page, ("Faulty", "blue"))
    app.subscribe(other_page, ("ByColor", "blue"))
    app.publish(delta.insert(player("blue")))
    assert page.deltas == []
    assert other_page.deltas == [delta.insert(player("blue"))]
    record = expect_log('Dealer "Faulty" failed on a row')
    assert record.exc_info


def test_a_subscription_over_a_bundled_and_a_users_dealer_hears_once(
    app: Any, by_color: ByColor, page: Any, delta: Any
) -> None:
    app.subscribe(page, ("players", BLUE), ("ByColor", "blue"), ("ByColor", "red"))
    deltas = [
        delta.insert(player("blue")),
        delta.update(player("red"), player("blue")),  # out of one item, into another
        delta.update(player("green"), player("red")),
    ]
    app.publish(*deltas)
    assert page.deltas == [*deltas[:2], delta.delete(player("red"))]


def test_what_a_dealer_delivers_itself_is_part_of_the_union(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    datasync.register_dealer(DeliversItself)
    app.subscribe(page, ("players", BLUE), ("DeliversItself", None), ("DeliversItself", 2))
    leaving = delta.update(player("red"), player("blue"))
    app.publish(delta.insert(player("blue")), leaving)
    assert page.deltas == [delta.insert(player("blue")), leaving]


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        ([InsertionDelta("Player", player("red"))], "update"),
        ([DeletionDelta("Player", player("blue"))], "delete"),
        (
            [DeletionDelta("Player", player("blue")), InsertionDelta("Player", player("red"))],
            "update",
        ),
        ([UpdateDelta("Player", player("red"), player("blue"))] * 2, "update"),
        ([], "delete"),
    ],
)
def test_each_way_to_tell_of_an_update_counts_as_the_rows_it_matched(
    app: Any, datasync: Any, page: Any, told: Any, heard: str, delta: Any
) -> None:
    class Teller(ByColor):
        def deliver_delta(self, delta: Any) -> None:
            for item in self.items:
                for one in told:
                    item.subscription.deliver_delta(one)

    datasync.register_dealer(Teller)
    # The other item leaves: by itself it would hear of a deletion.
    app.subscribe(page, ("Teller", None), ("players", BLUE))
    app.publish(delta.update(player("red"), player("blue")))
    assert [told["type"] for told in page.deltas] == [heard]


def test_deltas_of_a_dealers_own_making_go_out_as_they_are(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    class WithoutAge(ByColor):
        def deliver_delta(self, delta: Any) -> None:
            for item in self.items:
                shorter = InsertionDelta(delta.model, {"color": delta.data["color"]})
                item.subscription.deliver_delta(shorter)
                item.subscription.deliver_delta(InsertionDelta("Count", {"n": 1}))

    datasync.register_dealer(WithoutAge)
    app.subscribe(page, ("WithoutAge", None), ("WithoutAge", None))
    app.publish(delta.insert(player("blue", age=5)), delta.insert(player("red", age=6)))
    assert page.deltas == [
        delta.insert(player("blue")),
        delta.insert({"n": 1}, model="Count"),
        delta.insert(player("red")),
        delta.insert({"n": 1}, model="Count"),
    ]


def test_a_dealer_that_fails_while_it_delivers_stops_nobody_else(
    app: Any, datasync: Any, page: Any, other_page: Any, delta: Any, expect_log: Any
) -> None:
    class Broken(ByColor):
        def deliver_delta(self, delta: Any) -> None:
            raise ZeroDivisionError

    datasync.register_dealer(Broken)
    datasync.register_dealer(ByColor)
    app.subscribe(page, ("Broken", None), ("ByColor", "blue"))
    app.subscribe(other_page, ("AllPlayers", None))
    app.publish(delta.insert(player("blue")))
    assert page.deltas == other_page.deltas == [delta.insert(player("blue"))]
    expect_log('Dealer "Broken" failed to deliver a delta of model "Player"')


def test_a_bundled_dealer_whose_matches_are_overridden_is_asked_for_them(
    app: Any, datasync: Any, page: Any, other_page: Any, delta: Any
) -> None:
    class NotTheMuted(FilterDealer):
        model = "Player"

        def get_subscription_items_for_model(self, player: Any) -> Any:
            for item in super().get_subscription_items_for_model(player):
                if item.subscription.client is not other_page:
                    yield item

    datasync.register_dealer(NotTheMuted)
    for one in (page, other_page):
        app.subscribe(one, ("NotTheMuted", BLUE))
    app.publish(delta.insert(player("blue")), delta.insert(player("red")))
    assert page.deltas == [delta.insert(player("blue"))]
    assert other_page.deltas == []


def test_a_bundled_dealer_with_overridden_matches_is_part_of_the_union(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    class Reversed(FilterDealer):
        model = "Player"

        def get_subscription_items_for_model(self, player: Any) -> Any:
            return reversed(list(super().get_subscription_items_for_model(player)))

    datasync.register_dealer(Reversed)
    for _ in range(2):
        app.subscribe(page, ("Reversed", BLUE), ("Reversed", ["and"]), ("players", BLUE))
    app.publish(delta.update(player("red"), player("blue")))
    assert page.deltas == [delta.update(player("red"), player("blue"))] * 2


def test_a_bundled_dealer_may_change_deltas_on_their_way(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    class Anonymous(SimpleDealer):
        model = "Player"

        def get_key_for_model(self, player: Any) -> Any:
            return player["color"]

        def deliver_delta(self, delta: Any) -> None:
            super().deliver_delta(InsertionDelta(delta.model, {**delta.data, "name": "?"}))

    datasync.register_dealer(Anonymous)
    app.subscribe(page, ("Anonymous", "blue"))
    app.subscribe(page, ("Anonymous", "blue"))
    app.publish(delta.insert(player("blue", name="Ann")), delta.insert(player("red", name="Bob")))
    assert page.deltas == [delta.insert(player("blue", name="?"))] * 2


def test_one_that_holds_up_the_others_is_named_once_a_minute(
    app: Any, datasync: Any, page: Any, delta: Any, expect_log: Any, monkeypatch: Any
) -> None:
    now = 1000.0
    monkeypatch.setattr(dealers, "monotonic", lambda: now)

    class Pondering(ByColor):
        seconds = 0.09

        def get_subscription_items_for_model(self, player: Any) -> Iterator[SubscriptionItem]:
            nonlocal now
            now += self.seconds
            yield from super().get_subscription_items_for_model(player)

    datasync.register_dealer(Pondering)
    app.subscribe(page, ("Pondering", "blue"))
    app.publish(delta.insert(player("blue")))  # quick enough
    for _ in range(3):
        Pondering.seconds = 12.0
        app.publish(delta.insert(player("blue")))
        expect_log('Dealer "Pondering" took 12000 ms for one row of model "Player"')
        Pondering.seconds = 2.0
        for _ in range(25):
            app.publish(delta.insert(player("red")))
    assert len(page.deltas) == 4


def test_a_dealer_may_publish_what_follows_from_a_delta(
    app: Any, datasync: Any, page: Any, delta: Any
) -> None:
    class Count(BroadcastDealer):
        model = "Count"

    class Counting(ByColor):
        def deliver_delta(self, delta: Any) -> None:
            datasync.publish_deltas([InsertionDelta("Count", {"n": 1})])
            super().deliver_delta(delta)

    datasync.register_dealer(Count)
    datasync.register_dealer(Counting)
    app.subscribe(page, ("Counting", "blue"), ("Count", None), ("AllPlayers", None))
    app.publish(delta.insert(player("blue")), delta.insert(player("red")))
    assert page.deltas == [
        delta.insert({"n": 1}, model="Count"),
        delta.insert(player("blue")),
        delta.insert({"n": 1}, model="Count"),
        delta.insert(player("red")),
    ]


def test_a_dealer_may_tell_a_subscription_of_which_it_holds_no_item(
    app: Any, datasync: Any, witness: Any, page: Any, other_page: Any, delta: Any
) -> None:
    class Herald(ByColor):
        model = "News"

        def deliver_delta(self, delta: Any) -> None:
            first, _ = witness.get_subscription_items_for_model(player("blue"))
            first.subscription.deliver_delta(delta)

    datasync.register_dealer(Herald)
    app.subscribe(page, ("witness", BLUE))
    app.subscribe(other_page, ("witness", BLUE))
    app.publish(delta.insert({"text": "hear, hear"}, model="News"))
    assert page.deltas == [delta.insert({"text": "hear, hear"}, model="News")]
    assert other_page.deltas == []


def test_a_subscription_may_be_told_at_any_time(
    app: Any, datasync: Any, by_color: ByColor, page: Any, delta: Any
) -> None:
    token = app.authorize(("ByColor", "blue"), ("AllPlayers", None))
    (item,) = by_color.items
    subscription = item.subscription
    subscription.deliver_delta(InsertionDelta("Player", player("green")))
    call(datasync, page, "acquireSubscription", token=token)
    by_color.deliver_delta(InsertionDelta("Player", player("blue")))
    assert page.deltas == [delta.insert(player("green")), delta.insert(player("blue"))]

    # A dealer that forgot to let go of the item tells nobody, and nothing is kept.
    datasync.client_disconnected(page)
    subscription.deliver_delta(InsertionDelta("Player", player("blue")))
    assert len(page.deltas) == 2
    assert subscription.take_kept() == []


def test_a_subscription_can_be_made_by_hand_to_test_a_dealer(delta: Any) -> None:
    dealer = ByColor()
    service = DataSyncService("datasync", [dealer])
    item = SubscriptionItem("ByColor", "blue")
    subscription = Subscription([item], service)
    assert item.subscription is subscription
    assert len(subscription.token) >= 32
    subscription.client = page = FakeClient()
    dealer.add_subscription_item(item)
    service.publish_deltas([InsertionDelta("Player", player("blue"))])
    dealer.deliver_delta(DeletionDelta("Player", player("red")))
    assert [message["delta"] for message in page.messages] == [delta.insert(player("blue"))]


def test_each_item_is_removed_once(app: Any, datasync: Any, page: Any, clock: Any) -> None:
    removed: list[Any] = []

    class Counting(ByColor):
        def remove_subscription_item(self, item: Any) -> None:
            super().remove_subscription_item(item)
            removed.append(item.query)

    datasync.register_dealer(Counting)
    cancelled = app.subscribe(page, ("Counting", "cancelled"))
    app.subscribe(page, ("Counting", "left"), ("Counting", "left too"))
    app.authorize(("Counting", "expired"))
    call(datasync, page, "cancelSubscription", token=cancelled)
    assert removed == ["cancelled"]
    clock.advance(120)
    assert removed == ["cancelled", "expired"]
    datasync.client_disconnected(page)
    datasync.client_disconnected(page)
    clock.advance(1000)
    assert removed == ["cancelled", "expired", "left", "left too"]
