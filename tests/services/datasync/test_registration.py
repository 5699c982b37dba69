"""Dealers come and go, under their names."""

from __future__ import annotations

from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.datasync import BroadcastDealer, DataSyncService, Dealer
from snorky.testing import call

BLUE = ["==", "color", "blue"]


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

    class Labelled(Players):
        name = "set in the class"

    class Inherited(Labelled):
        pass

    class Property(Players):
        @property
        def name(self) -> str:  # type: ignore[override]
            return "asked"

    assert Players().name == Players.name == "Players"
    assert FewerPlayers().name == "FewerPlayers"
    assert Inherits().name == "named-by-its-maker"
    assert Inherited().name == "set in the class"
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
    app: Any, datasync: Any, page: Any, witness: Any, delta: Any
) -> None:
    token = app.subscribe(page, ("witness", BLUE))
    datasync.unregister_dealer(witness)
    app.publish(delta.insert({"color": "blue"}))
    assert page.deltas == []
    with pytest.raises(RPCError, match="No such dealer"):
        app.authorize(("witness", BLUE))

    # Another dealer of that name has nothing to do with the old one's items.
    successor = datasync.register_dealer(type(witness))
    call(datasync, page, "cancelSubscription", token=token)
    assert witness.log == [("add", BLUE), ("remove", BLUE)]
    assert successor.log == []
    with pytest.raises(RuntimeError, match="not registered"):
        datasync.unregister_dealer(witness)


def test_a_dealer_that_fails_to_remove_does_not_keep_the_others_from_it(
    app: Any, datasync: Any, page: Any, witness: Any, expect_log: Any
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
