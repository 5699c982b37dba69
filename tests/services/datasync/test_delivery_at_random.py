"""Random lives of subscriptions, compared with the rules spelled out once more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from snorky.services.base import RPCError
from snorky.services.datasync import (
    BroadcastDealer,
    DataSyncBackend,
    DataSyncService,
    Dealer,
    FilterDealer,
    SimpleDealer,
    SubscriptionItem,
)
from snorky.testing import FakeClient, call

PAGES = 3


class AllPlayers(BroadcastDealer):
    model = "Player"


class ByColor(SimpleDealer):
    model = "Player"

    def get_key_for_model(self, player: Any) -> Any:
        return player["color"]


class ByFilter(FilterDealer):
    model = "Player"


class OneByOne(Dealer):
    """As users write them."""

    model = "Player"

    def __init__(self) -> None:
        self.items: set[SubscriptionItem] = set()

    def add_subscription_item(self, item: SubscriptionItem) -> None:
        self.items.add(item)

    def remove_subscription_item(self, item: SubscriptionItem) -> None:
        self.items.remove(item)

    def get_subscription_items_for_model(self, player: Any) -> Iterator[SubscriptionItem]:
        return (item for item in self.items if item.query == player["color"])


class Never:
    """A clock that stands still."""

    def call_later(self, *args: Any) -> Never:
        return self

    def cancel(self) -> None: ...


# Item -> does it match a row? Keys are the JSON of the item.
ITEMS: dict[str, Callable[[Any], bool]] = {
    json.dumps({"dealer": dealer, "query": query}): matches
    for dealer, query, matches in [
        ("AllPlayers", None, lambda row: True),
        ("ByColor", "red", lambda row: row["color"] == "red"),
        ("ByColor", "blue", lambda row: row["color"] == "blue"),
        ("ByFilter", ["==", "color", "red"], lambda row: row["color"] == "red"),
        ("ByFilter", [">=", "age", 18], lambda row: row["age"] >= 18),
        ("OneByOne", "blue", lambda row: row["color"] == "blue"),
        ("OneByOne", "green", lambda row: row["color"] == "green"),
    ]
}
ROWS = st.fixed_dictionaries(
    {"color": st.sampled_from(["blue", "red", "green"]), "age": st.sampled_from([9, 18])}
)
SUBSCRIPTION = st.integers(0, 9)
PAGE = st.integers(0, PAGES - 1)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("authorize"), st.lists(st.sampled_from(list(ITEMS)), max_size=3)),
        st.tuples(st.just("acquire"), SUBSCRIPTION, PAGE),
        st.tuples(st.just("cancel"), SUBSCRIPTION, PAGE),
        st.tuples(st.just("leave"), PAGE),
        st.tuples(st.just("publish"), st.tuples(st.none() | ROWS, st.none() | ROWS).filter(any)),
    ),
    max_size=40,
)


class Expected:
    """One subscription, as the contract has it."""

    def __init__(self, token: str, items: list[str]) -> None:
        self.token = token
        self.matches = [ITEMS[item] for item in items]
        self.state: Any = "waiting"  # then the number of its page, then "ended"
        self.kept: list[Any] = []

    def sees(self, old: Any, new: Any) -> Any:
        was = old is not None and any(matches(old) for matches in self.matches)
        is_ = new is not None and any(matches(new) for matches in self.matches)
        return delta(old if was else None, new if is_ else None)


def delta(old: Any, new: Any) -> Any:
    if old is not None and new is not None:
        return {"type": "update", "model": "Player", "newData": new, "oldData": old}
    if new is not None:
        return {"type": "insert", "model": "Player", "data": new}
    if old is not None:
        return {"type": "delete", "model": "Player", "data": old}
    return None


@settings(max_examples=200, deadline=None)
@given(actions=ACTIONS)
def test_every_subscription_hears_the_union_of_its_items_once(actions: Any) -> None:
    service = DataSyncService("datasync", [AllPlayers, ByColor, ByFilter, OneByOne])
    backend = DataSyncBackend("backend", service, timeout_factory=Never())
    web_application = FakeClient()
    pages = [FakeClient() for _ in range(PAGES)]
    subscriptions: list[Expected] = []

    def heard(number: int) -> list[Any]:
        deltas = [message["delta"] for message in pages[number].messages]
        pages[number].received.clear()
        return deltas

    def accepted(command: str, subscription: Expected, number: int) -> bool:
        try:
            call(service, pages[number], command, token=subscription.token)
        except RPCError as error:
            assert str(error) == "No such subscription"  # noqa: PT017
            return False
        return True

    for action, *arguments in actions:
        if action == "authorize":
            (items,) = arguments
            token = call(
                backend,
                web_application,
                "authorizeSubscription",
                items=[json.loads(item) for item in items],
            )
            subscriptions.append(Expected(token, items))
        elif action == "publish":
            ((old, new),) = arguments
            expected: list[list[Any]] = [[] for _ in pages]
            for subscription in subscriptions:
                seen = subscription.sees(old, new)
                if seen is not None and subscription.state == "waiting":
                    subscription.kept.append(seen)
                elif seen is not None and subscription.state != "ended":
                    expected[subscription.state].append(seen)
            call(backend, web_application, "publishDeltas", deltas=[delta(old, new)])
            for number in range(PAGES):
                assert sorted(map(repr, heard(number))) == sorted(map(repr, expected[number]))
        elif action == "leave":
            (number,) = arguments
            service.client_disconnected(pages[number])
            for subscription in subscriptions:
                if subscription.state == number:
                    subscription.state = "ended"
        elif arguments[0] < len(subscriptions):
            subscription, number = subscriptions[arguments[0]], arguments[1]
            if action == "acquire":
                waiting = subscription.state == "waiting"
                assert accepted("acquireSubscription", subscription, number) is waiting
                if waiting:
                    subscription.state = number
                    assert heard(number) == subscription.kept
            else:
                own = subscription.state == number
                assert accepted("cancelSubscription", subscription, number) is own
                if own:
                    subscription.state = "ended"
