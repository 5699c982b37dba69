"""Revoking, refreshing, and being asked again: what a page may see ends."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from snorky.brokers import Retention
from snorky.brokers.memory import MemoryBroker, MemoryLog
from snorky.services.base import RPCError
from snorky.testing import call
from tests.patience import patient
from tests.services.datasync.wire import ALL, Site, WirePage, having, insert, task

OPEN, DONE = having("done", False), having("done", True)


@pytest.fixture
def site() -> Site:
    return Site()


def open_page(site: Site, *items: tuple[str, Any], subject: Any = None) -> tuple[WirePage, Any]:
    page = site.page()
    return page, page.open_one(site.tokens(*(items or (("Tasks", ALL),)), subject=subject))


ITEM_OPEN, ITEM_DONE = (
    {"dealer": "Tasks", "query": OPEN},
    {"dealer": "Tasks", "query": ["==", "done", True]},
)


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        ({"subject": "ann"}, "ann's open, ann's people"),
        ({"subject": "nobody"}, ""),
        ({"models": ["Task"]}, "ann's open, bob's done"),
        ({"models": ["Task", "Person"]}, "ann's open, bob's done, ann's people"),
        ({"items": [ITEM_OPEN]}, "ann's open"),
        ({"items": [ITEM_OPEN, ITEM_DONE]}, "ann's open, bob's done"),
        ({"subject": "ann", "models": ["Task"]}, "ann's open"),
        ({"subject": "ann", "items": [ITEM_DONE]}, ""),
        ({"subject": "ann", "items": [ITEM_OPEN], "models": ["Person"]}, ""),
        ({"items": []}, ""),
    ],
)
def test_what_matches_all_arguments_ends(site: Site, arguments: Any, ends: str) -> None:
    pages = {
        "ann's open": open_page(site, ("Tasks", OPEN), subject="ann"),
        "bob's done": open_page(site, ("Tasks", DONE), subject="bob"),
        "ann's people": open_page(site, ("People", ALL), subject="ann"),
    }
    tokens = {
        "ann's open": site.token(OPEN, subject="ann"),
        "bob's done": site.token(DONE, subject="bob"),
        "ann's people": site.token(dealer="People", subject="ann"),
    }
    assert site.call("revokeSubscriptions", **arguments) is None

    ended = []
    for name, (page, answer) in pages.items():
        frames = page.frames
        if frames:
            assert frames == [
                {
                    "type": "resync",
                    "subscriptions": [answer["subscription"]],
                    "reason": "revoked",
                    "after_ms": 0,
                }
            ]
            ended.append(name)
    assert ", ".join(ended) == ends
    # Tokens that were given out before are refused the same.
    refused = [
        name for name, token in tokens.items() if not site.page().open_one(token)["recovered"]
    ]
    assert refused == ended
    resumed = [
        name
        for name, (_, answer) in pages.items()
        if site.page().open_one(answer["token"]).get("reason") == "revoked"
    ]
    assert resumed == ended


def test_nothing_appended_afterwards_reaches_what_was_revoked(site: Site) -> None:
    page, _ = open_page(site, subject="ann")
    site.call("revokeSubscriptions", subject="ann")
    site.publish(insert(task(1)))
    assert [frame["type"] for frame in page.frames] == ["resync"]


def test_tokens_given_out_afterwards_are_good(site: Site) -> None:
    site.call("revokeSubscriptions", subject="ann")
    assert open_page(site, subject="ann")[1]["recovered"]


def test_a_token_whose_place_was_taken_before_is_refused(site: Site) -> None:
    """The permission may have been checked before it was revoked."""
    after = site.head
    site.call("revokeSubscriptions", subject="ann")
    token = site.token(subject="ann", after=after)
    assert site.page().open_one(token)["reason"] == "revoked"


def test_subjects_are_any_json(site: Site) -> None:
    page, _ = open_page(site, subject={"id": 1, "team": [2]})
    site.call("revokeSubscriptions", subject={"team": [2.0], "id": 1})
    assert page.frame["reason"] == "revoked"


def test_revocations_outlive_the_log() -> None:
    site = Site(log_bytes=2000)
    token = site.token(DONE, subject="ann")
    page, answer = open_page(site, ("Tasks", DONE), subject="ann")
    page.leave()
    site.call("revokeSubscriptions", subject="ann")
    for number in range(40):
        site.publish(insert(task(number, done=False)))
    assert site.service.changes.log.first.seq > 1

    # Also where what it missed would still be known.
    for old in (token, answer["token"]):
        assert site.page().open_one(old, since=site.head)["reason"] == "revoked"


def test_revocations_are_forgotten_when_no_older_token_is_good() -> None:
    site = Site(resume_ttl=0)
    site.call("revokeSubscriptions", subject="ann")
    assert len(site.service.openings.revocations) == 1
    site.look()
    assert len(site.service.openings.revocations) == 0
    assert site.service.openings.revocations._by_handle == {}


def test_a_process_that_comes_later_knows_what_was_revoked() -> None:
    broker = MemoryBroker()
    first = Site(broker=broker, token_key="k")
    token = first.token(subject="ann")
    first.call("revokeSubscriptions", subject="ann")

    second = Site(broker=broker, token_key="k")
    assert second.page().open_one(token)["reason"] == "revoked"


async def test_a_process_that_reads_an_engine_knows_them_before_it_opens_anything() -> None:
    """An engine's log is empty here until it has been started."""
    first = Site(token_key="k")
    token = first.token(subject="ann")
    first.call("revokeSubscriptions", subject="ann")
    there = first.service.changes.log

    class Engine(MemoryLog):
        async def start(self) -> None:
            self.fill(there.first, there.read(there.first), there.head)

        def kept_beside(self) -> Any:
            return asyncio.sleep(0, there.kept_beside()) if self.head.seq else ()

    class EngineBroker(MemoryBroker):
        def log(self, name: str, retention: Any = None) -> MemoryLog:
            return Engine(retention or Retention(), monotonic)

    second = Site(broker=EngineBroker(), token_key="k")
    assert second.page().open_one(token)["reason"] == "epoch"
    await second.service.start()
    assert second.page().open_one(token)["reason"] == "revoked"
    assert second.page().open_one(second.token())["position"] == first.head
    await second.service.stop()


@pytest.mark.parametrize("command", ["revokeSubscriptions", "refreshSubscriptions"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "expected at least one of subject, items, models"),
        ({"items": "x"}, "items must be list"),
        ({"items": [{"dealer": "Tasks"}]}, "Missing field 'query'"),
        ({"items": [{"dealer": "Nobody", "query": 1}]}, "No such dealer"),
        ({"models": "Task"}, "models must be list of strings"),
        ({"models": [5]}, "models must be list of strings"),
    ],
)
def test_faulty_arguments_are_refused(site: Site, command: str, arguments: Any, error: str) -> None:
    with pytest.raises(RPCError, match=f"^{error}$"):
        site.call(command, **arguments)


# Classic pages


def test_classic_pages_are_told_what_ended(site: Site) -> None:
    page = site.page()
    token = site.token(subject="ann")
    call(site.service, page, "acquireSubscription", token=token)
    site.call("revokeSubscriptions", subject="ann")
    assert page.frame == {"type": "resync", "token": token, "reason": "revoked", "after_ms": 0}

    site.publish(insert(task(1)))
    assert page.frames == []
    for command in ("cancelSubscription", "acquireSubscription"):
        with pytest.raises(RPCError, match="No such subscription"):
            call(site.service, page, command, token=token)


def test_classic_tokens_that_were_revoked_are_not_acquired(site: Site) -> None:
    token = site.token(subject="ann")
    site.call("revokeSubscriptions", subject="ann")
    with pytest.raises(RPCError, match="No such subscription"):
        call(site.service, site.page(), "acquireSubscription", token=token)


@pytest.mark.parametrize("acquired_first", [True, False])
def test_classic_pages_are_told_of_a_reset(site: Site, acquired_first: bool) -> None:
    page = site.page()
    token = site.token()
    steps = [
        lambda: call(site.service, page, "acquireSubscription", token=token),
        lambda: site.publish({"type": "reset", "model": "Task"}),
    ]
    for step in steps if acquired_first else reversed(steps):
        step()
    assert page.frame == {"type": "resync", "token": token, "reason": "reset", "after_ms": 0}


# Refreshing


def test_pages_are_told_to_fetch_again_and_run_on(site: Site) -> None:
    page, answer = open_page(site)
    other, _ = open_page(site, ("People", ALL))
    site.call("refreshSubscriptions", models=["Task"])

    assert other.frames == []
    assert page.frame == {
        "type": "refresh",
        "subscriptions": [answer["subscription"]],
        "position": site.head,
        "after_ms": 0,
    }
    site.publish(insert(task(1)))
    assert len(page.changes) == 1


def test_those_who_refresh_are_spread(site: Site) -> None:
    pages = [open_page(site)[0] for _ in range(50)]
    site.call("refreshSubscriptions", models=["Task"])
    waits = {page.frame["after_ms"] for page in pages}
    assert len(waits) > 5
    assert max(waits) < 100


def test_who_comes_back_is_told_what_he_did_not_hear(site: Site) -> None:
    page, answer = open_page(site)
    since = site.head
    page.leave()
    site.call("refreshSubscriptions", models=["Person"])
    back = site.page().open_one(answer["token"], since=since)
    assert "refresh" not in back

    site.call("refreshSubscriptions", models=["Task"])
    back = site.page().open_one(answer["token"], since=since)
    assert back["refresh"] == 0
    again = site.page().open_one(answer["token"], since=back["position"])
    assert "refresh" not in again


def test_refreshes_are_forgotten_with_the_log() -> None:
    site = Site(log_bytes=500)
    for _ in range(20):
        site.call("refreshSubscriptions", models=["Task"])
    assert 0 < len(site.service.openings.refreshes) < 20
    assert len(site.service.openings.refreshes) == len(
        site.service.changes.log.read(site.service.changes.log.first)
    )


# Being asked again


async def test_rows_are_checked_again() -> None:
    site = Site(recheck=-2)
    assert open_page(site)[1]["reason"] == "expired"

    site = Site(recheck=0.01, resume_ttl=0.5)
    page, answer = open_page(site)
    frames: list[Any] = []
    async with asyncio.timeout(patient(10)):
        while not frames:
            await asyncio.sleep(0.02)
            frames = [frame for frame in page.frames if frame["type"] != "mark"]
    assert frames[0] == {
        "type": "resync",
        "subscriptions": [answer["subscription"]],
        "reason": "expired",
        "after_ms": 0,
    }
    assert site.page().open_one(answer["token"], since=site.head)["reason"] == "expired"


# For operators


async def test_operators_see_what_is_subscribed_to() -> None:
    site = Site(relay=True)
    open_page(site, ("Tasks", OPEN), ("Tasks", DONE))
    page, _ = open_page(site, ("People", ALL))
    call(site.service, page, "acquireSubscription", token=site.token())
    lease = await site.async_call("takeLease", source="main")
    await site.async_call("passEnded", source="main", fence=lease["fence"], asked=2)
    open_page(site, ("Tasks", OPEN))

    assert site.call("listSubscriptions") == [
        {"dealer": "People", "model": "Person", "status": "live", "subscriptions": 1},
        {"dealer": "Tasks", "model": "Task", "status": "acquired", "subscriptions": 1},
        {"dealer": "Tasks", "model": "Task", "status": "catching-up", "subscriptions": 1},
        {"dealer": "Tasks", "model": "Task", "status": "live", "subscriptions": 2},
    ]
