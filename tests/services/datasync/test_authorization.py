"""The web application asks for tokens."""

from __future__ import annotations

from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.datasync import BadQuery, BroadcastDealer, SubscriptionItem
from snorky.testing import FakeClient, call

BLUE = ["==", "color", "blue"]


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
            "unknown operator '='; expected one of ==, !=, <, <=, >, >=, in, and, or, not, isnull, "
            "startswith",
        ),
    ],
)
def test_a_faulty_item_is_refused(
    backend: Any, clock: Any, items: Any, error: str, refused: Any
) -> None:
    assert refused(backend, FakeClient(), "authorizeSubscription", items=items) == error
    assert clock.timers == []


def test_items_that_are_no_list_are_invalid_params(
    backend: Any, expect_log: Any, refused: Any
) -> None:
    assert refused(backend, FakeClient(), "authorizeSubscription", items="x") == "Invalid params"
    expect_log("Invalid params")


def test_items_are_added_when_authorised(app: Any, witness: Any) -> None:
    app.authorize(("witness", BLUE), ("witness", ["and"]))
    assert witness.log == [("add", BLUE), ("add", ["and"])]


def test_a_bad_query_undoes_the_items_already_added(
    app: Any, witness: Any, clock: Any, page: Any, delta: Any
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


def test_an_unknown_dealer_is_found_before_any_item_is_added(app: Any, witness: Any) -> None:
    with pytest.raises(RPCError, match="No such dealer"):
        app.authorize(("witness", BLUE), ("nobody", None))
    assert witness.log == []


def test_a_dealer_that_fails_to_add_is_an_internal_error_and_undone(
    datasync: Any, backend: Any, witness: Any, clock: Any, expect_log: Any
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


def test_the_number_of_unacquired_tokens_is_bounded(
    app: Any, datasync: Any, page: Any, limit: Any
) -> None:
    limit(datasync, max_unacquired_tokens=2)
    token = app.authorize(("AllPlayers", None))
    app.authorize(("AllPlayers", None))
    with pytest.raises(RPCError, match=r"^Too many unacquired tokens$"):
        app.authorize(("AllPlayers", None))
    call(datasync, page, "acquireSubscription", token=token)
    app.authorize(("AllPlayers", None))


def test_the_number_of_items_is_bounded(app: Any, datasync: Any, limit: Any) -> None:
    limit(datasync, max_subscription_items=2)
    app.authorize(*[("AllPlayers", None)] * 2)
    with pytest.raises(RPCError, match=r"^Too many items$"):
        app.authorize(*[("AllPlayers", None)] * 3)


@pytest.mark.parametrize(
    ("dealer", "error"),
    [
        ("players", "unknown operator an array"),
        ("players-by-color", "expected a JSON value: nested too deeply"),
    ],
)
def test_a_query_nested_beyond_measure_is_a_bad_query(
    datasync: Any, dealer: str, error: str
) -> None:
    query: Any = "blue"
    for _ in range(5000):
        query = [query]
    with pytest.raises(BadQuery, match=error):
        datasync.dealers[dealer].add_subscription_item(SubscriptionItem(dealer, query))


def test_a_users_bad_query_is_the_answer(app: Any, datasync: Any) -> None:
    class Picky(BroadcastDealer):
        model = "Player"

        def add_subscription_item(self, item: Any) -> None:
            raise BadQuery("only on Sundays")

    datasync.register_dealer(Picky)
    with pytest.raises(RPCError, match=r"^only on Sundays$"):
        app.authorize(("Picky", None))
