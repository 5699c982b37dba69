"""Pages of the new wire, and the web application beside them."""

from __future__ import annotations

from typing import Any

from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer
from snorky.testing import FakeClient, async_call, call
from tests.patience import patient

ALL = ["and"]


class Tasks(FilterDealer):
    model = "Task"


class People(FilterDealer):
    model = "Person"


class WirePage(FakeClient):
    """A page; ``frames`` is what it was told since it last looked, without answers."""

    def __init__(self, service: DataSyncService, identity: Any = None) -> None:
        super().__init__(identity)
        self.service = service

    def open(self, *subscriptions: Any) -> list[Any]:
        """Open tokens, or objects with ``token``, ``since``, ``live``."""
        wanted = [{"token": each} if isinstance(each, str) else each for each in subscriptions]
        answer = call(self.service, self, "openSubscriptions", subscriptions=wanted)
        assert isinstance(answer, list)
        return answer

    def open_one(self, token: Any, **more: Any) -> Any:
        (answer,) = self.open({"token": token, **more})
        return answer

    def close_lists(self, *ids: Any) -> None:
        assert call(self.service, self, "closeSubscriptions", subscriptions=list(ids)) is None

    def leave(self) -> None:
        self.connected = False
        self.service.client_disconnected(self)

    @property
    def frames(self) -> list[Any]:
        frames = self.messages
        self.received.clear()
        return frames

    @property
    def frame(self) -> Any:
        (frame,) = self.frames
        return frame

    @property
    def changes(self) -> list[Any]:
        """Of all ``changes`` frames since it last looked; nothing else must have come."""
        frames = self.frames
        assert {frame["type"] for frame in frames} <= {"changes"}
        return [change for frame in frames for change in frame["changes"]]


class Site:
    """A service with its back end, as a web application uses it."""

    def __init__(self, *dealers: Any, interval: float = patient(120), **options: Any) -> None:
        self.service = DataSyncService("datasync", dealers or [Tasks, People], **options)
        self.backend = DataSyncBackend("backend", self.service, timeout_interval=interval)
        self.client = FakeClient()

    def call(self, command: str, **params: Any) -> Any:
        return call(self.backend, self.client, command, **params)

    async def async_call(self, command: str, **params: Any) -> Any:
        return await async_call(self.backend, self.client, command, **params)

    def token(self, query: Any = ALL, dealer: str = "Tasks", **more: Any) -> str:
        return self.tokens((dealer, query), **more)

    def tokens(self, *items: tuple[str, Any], **more: Any) -> str:
        parsed = [{"dealer": dealer, "query": query} for dealer, query in items]
        token = self.call("authorizeSubscription", items=parsed, **more)
        assert isinstance(token, str)
        return token

    def page(self, identity: Any = None) -> WirePage:
        return WirePage(self.service, identity)

    def publish(self, *deltas: Any, **more: Any) -> Any:
        return self.call("publishDeltas", deltas=list(deltas), **more)

    @property
    def head(self) -> str:
        head = self.call("head")
        assert isinstance(head, str)
        return head

    def look(self) -> None:
        """What the clock does now and then."""
        self.service.upkeep._look()


def insert(data: Any, model: str = "Task") -> dict[str, Any]:
    return {"type": "insert", "model": model, "data": data}


def update(new: Any, old: Any, model: str = "Task") -> dict[str, Any]:
    return {"type": "update", "model": model, "newData": new, "oldData": old}


def delete(data: Any, model: str = "Task") -> dict[str, Any]:
    return {"type": "delete", "model": model, "data": data}


def reset(model: str = "Task") -> dict[str, Any]:
    return {"type": "reset", "model": model}


def task(key: int, **more: Any) -> dict[str, Any]:
    return {"id": key, **more}


def is_in(row: Any, *items: int, out: Any = (), model: str = "Task") -> dict[str, Any]:
    """A change that items show."""
    return {"model": model, "key": row["id"], "data": row, "in": list(items), "out": list(out)}


def is_out(key: Any, *items: int, model: str = "Task") -> dict[str, Any]:
    """A change that items show no more."""
    return {"model": model, "key": key, "data": None, "in": [], "out": list(items)}


def having(field: str, value: Any) -> list[Any]:
    return ["==", field, value]
