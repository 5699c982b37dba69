"""A DataSync service with its back end, a clock in the hand of the test, and pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.datasync import (
    BroadcastDealer,
    DataSyncBackend,
    DataSyncService,
    FilterDealer,
    SimpleDealer,
    line,
)
from snorky.testing import FakeClient, call


@pytest.fixture(autouse=True)
def _slices_end_with_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the clock: on a busy machine any step may be the one that takes too long."""
    monkeypatch.setattr(line, "SECONDS_PER_SLICE", 3600)


class AllPlayers(BroadcastDealer):
    model = "Player"


class PlayersByColor(SimpleDealer):
    name = "players-by-color"
    model = "Player"

    def get_key_for_model(self, player: Any) -> Any:
        return player.get("color")


class PlayersByFilter(FilterDealer):
    name = "players"
    model = "Player"


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


class Clock:
    """A timeout factory whose time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Timer:
        timer = Timer(self, self.now + delay, lambda: callback(*args, **kwargs))
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for timer in tuple(self.timers):
            if timer.due <= self.now and timer in self.timers:
                self.timers.remove(timer)
                timer.callback()


class Timer:
    def __init__(self, clock: Clock, due: float, callback: Callable[[], Any]) -> None:
        self.clock = clock
        self.due = due
        self.callback = callback

    def cancel(self) -> None:
        assert self in self.clock.timers, "cancelled once, and not when its time has come"
        self.clock.timers.remove(self)


class Page(FakeClient):
    """A browser page; ``deltas`` is what it heard, oldest first."""

    @property
    def deltas(self) -> list[Any]:
        assert all(message["type"] == "delta" for message in self.messages)
        return [message["delta"] for message in self.messages]


class WebApplication:
    """What the web application does: authorise, publish."""

    def __init__(self, backend: DataSyncBackend) -> None:
        self.backend = backend
        self.client = FakeClient()

    def authorize(self, *items: tuple[str, Any]) -> str:
        token = call(
            self.backend,
            self.client,
            "authorizeSubscription",
            items=[{"dealer": dealer, "query": query} for dealer, query in items],
        )
        assert isinstance(token, str)
        return token

    def subscribe(self, page: FakeClient, *items: tuple[str, Any]) -> str:
        """Authorise, and let the page acquire its token."""
        token = self.authorize(*items)
        assert call(self.backend.frontend, page, "acquireSubscription", token=token) is None
        return token

    def publish(self, *deltas: Any) -> None:
        assert call(self.backend, self.client, "publishDeltas", deltas=list(deltas)) is None


@pytest.fixture(autouse=True)
def _all_in_one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands answer in the call, also where the machine has others to run."""
    monkeypatch.setattr(line, "SECONDS_PER_SLICE", 60.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def datasync() -> DataSyncService:
    return DataSyncService("datasync", [AllPlayers, PlayersByColor, PlayersByFilter])


@pytest.fixture
def backend(datasync: DataSyncService, clock: Clock) -> DataSyncBackend:
    return DataSyncBackend("datasync_backend", datasync, timeout_factory=clock)


@pytest.fixture
def app(backend: DataSyncBackend) -> WebApplication:
    return WebApplication(backend)


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def other_page() -> Page:
    return Page()


class Make:
    """Delta JSON, as a web application writes it."""

    @staticmethod
    def insert(data: Any, model: str = "Player") -> dict[str, Any]:
        return {"type": "insert", "model": model, "data": data}

    @staticmethod
    def update(new: Any, old: Any, model: str = "Player") -> dict[str, Any]:
        return {"type": "update", "model": model, "newData": new, "oldData": old}

    @staticmethod
    def delete(data: Any, model: str = "Player") -> dict[str, Any]:
        return {"type": "delete", "model": model, "data": data}


@pytest.fixture
def delta() -> type[Make]:
    return Make


@pytest.fixture
def witness(datasync: DataSyncService) -> Witness:
    return datasync.register_dealer(Witness())


@pytest.fixture
def refused() -> Callable[..., str]:
    """``refused(service, client, command, **params)`` -> the text of the error."""

    def call_in_vain(service: Any, client: Any, command: str, **params: Any) -> str:
        with pytest.raises(RPCError) as refusal:
            call(service, client, command, **params)
        return str(refusal.value)

    return call_in_vain


@pytest.fixture
def limit() -> Callable[..., None]:
    """``limit(service, max_...=...)``"""

    def set_limits(service: Any, **limits: Any) -> None:
        service.limits = dataclasses.replace(service.limits, **limits)

    return set_limits
