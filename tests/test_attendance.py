"""Who is here: the index by identity, and what a back end does with it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from tornado.web import Application

from snorky import ServiceRegistry
from snorky import attendance as attendance_module
from snorky.attendance import Attendance
from snorky.backend.aio import SnorkyBackend, SnorkyHTTPTransport
from snorky.close_codes import DISCONNECTED, TOKEN_EXPIRED
from snorky.identity import Authenticated
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.services.identity import IdentityBackend
from snorky.testing import FakeClient
from tests.lines import until
from tests.patience import patient


def connected(registry: ServiceRegistry, identity: Any) -> FakeClient:
    client = FakeClient(identity)
    registry.client_connected(client)
    return client


def test_nothing_is_kept_of_anonymous_clients_and_of_those_that_have_gone() -> None:
    registry = ServiceRegistry()
    connected(registry, None)
    assert len(registry._attendance) == 0
    alice = connected(registry, "alice")
    assert len(registry._attendance) == 1
    registry.client_disconnected(alice)
    registry.client_disconnected(alice)
    assert len(registry._attendance) == 0
    assert registry.disconnect("alice") == 0
    assert registry.disconnect(None) == 0


def test_a_client_is_found_by_the_identity_it_came_with() -> None:
    registry = ServiceRegistry()
    client = connected(registry, "alice")
    client.identity = "renamed"
    assert registry.disconnect("alice") == 1
    assert client.closed == DISCONNECTED
    registry.client_disconnected(client)
    assert len(registry._attendance) == 0


def test_identities_that_cannot_be_keys_are_served_but_not_found() -> None:
    registry = ServiceRegistry()
    client = connected(registry, {"name": "alice"})
    with pytest.raises(TypeError):
        registry.disconnect({"name": "alice"})
    registry.client_disconnected(client)
    assert registry.clients == set()


def test_one_client_that_cannot_be_closed_does_not_save_the_others(expect_log: Any) -> None:
    class Stubborn(FakeClient):
        def close(self, code: int = 1000, reason: str = "") -> None:
            raise OSError("no")

    registry = ServiceRegistry()
    registry.client_connected(Stubborn("alice"))
    others = [connected(registry, "alice") for _ in range(3)]
    assert registry.disconnect("alice") == 4
    assert [client.closed for client in others] == [DISCONNECTED] * 3
    expect_log("Unhandled exception while closing fake")


@pytest.mark.parametrize("expires_at", [0, -1e300, float("-inf")])
async def test_a_time_that_is_over_ends_at_once(expires_at: float) -> None:
    client = connected(ServiceRegistry(), Authenticated("alice", expires_at))
    assert client.identity == "alice"
    async with asyncio.timeout(patient(5)):
        while client.closed is None:
            await asyncio.sleep(0)
    assert client.closed == TOKEN_EXPIRED


@pytest.mark.parametrize("expires_at", [1e300, float("inf")])
async def test_a_time_that_never_comes_is_no_trouble(expires_at: float) -> None:
    registry = ServiceRegistry()
    client = connected(registry, Authenticated("alice", expires_at))
    await asyncio.sleep(0)
    assert client.closed is None
    registry.client_disconnected(client)
    assert registry._attendance._timers == {}


async def test_how_long_one_may_stay_is_no_matter_of_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expired: list[Any] = []
    attendance = Attendance(expired.append)
    attendance.stay_for("alice", 0.05)
    attendance.stay_for("bob", 60)
    carol = FakeClient(Authenticated("carol", time.time() + 0.05, time.monotonic() + 0.05))
    attendance.enter(carol)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    await until(lambda: len(expired) == 2)
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    await asyncio.sleep(0.1)
    assert expired == ["alice", carol]
    attendance.leave("bob")


async def test_a_stay_until_an_instant_ends_when_the_clock_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attendance_module, "_LONGEST_SLEEP", 0.01)
    expired: list[float] = []
    attendance = Attendance(lambda client: expired.append(time.time()))
    until_then = time.time() + 0.1
    attendance.stay(FakeClient("alice"), until_then)
    await until(lambda: expired)
    assert expired[0] >= until_then


async def test_only_who_is_here_is_renewed() -> None:
    registry = ServiceRegistry()
    client, stranger, nobody = connected(registry, "alice"), FakeClient("alice"), FakeClient()
    registry.client_connected(nobody)
    later = Authenticated("alice", time.time() + 60)
    registry.renew(client, later)
    for other, authenticated in [
        (stranger, later),
        (nobody, later),
        (nobody, Authenticated(None, later.expires_at)),
        (client, Authenticated("bob", later.expires_at)),
    ]:
        with pytest.raises(ValueError, match="expected"):
            registry.renew(other, authenticated)
    registry.client_disconnected(client)
    with pytest.raises(ValueError, match="connected"):
        registry.renew(client, later)
    assert registry._attendance._timers == {}


async def test_a_back_end_disconnects_somebody(listen: Callable[..., int]) -> None:
    registry = ServiceRegistry()
    alice, bob = connected(registry, "alice"), connected(registry, 7)
    backend = ServiceRegistry([IdentityBackend("identity_backend", registry)])
    route = ("/backend", BackendHTTPHandler, {"service_registry": backend, "api_key": "swordfish"})
    url = f"http://127.0.0.1:{listen(Application([route]))}/backend"
    async with SnorkyHTTPTransport(url, "swordfish") as transport:
        website = SnorkyBackend(transport)
        assert await website.call("identity_backend", "disconnect", identity="alice") == 1
        assert alice.closed == DISCONNECTED
        assert bob.closed is None
        for identity in ("nobody", None, ["alice"], {"a": 1}, "7"):
            assert await website.call("identity_backend", "disconnect", identity=identity) == 0
        assert await website.call("identity_backend", "disconnect", identity=7) == 1
    assert json.dumps(bob.closed) == json.dumps(DISCONNECTED)
