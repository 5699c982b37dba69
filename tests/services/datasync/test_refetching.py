"""Any query live: pages are told that something changed, and ask the application again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.datasync import RefetchDealer, notices
from snorky.testing import call
from tests.patience import patient
from tests.services.datasync.wire import Site, Tasks, WirePage, delete, insert, reset, task, update


class Overdue(RefetchDealer):
    models = ("Task", "Person")

    def matches(self, row: Any, query: Any) -> bool:
        return bool(row["team"] == query)


@pytest.fixture
def site() -> Site:
    return Site(Tasks, Overdue)


def refetching(site: Site, *models: str) -> str:
    return site.token({"models": list(models)}, dealer="refetch")


def stale(site: Site, answer: Any) -> dict[str, Any]:
    return {"type": "stale", "subscriptions": [answer["subscription"]], "position": site.head}


async def next_frame(page: WirePage) -> Any:
    async with asyncio.timeout(patient(10)):
        while not page.received:
            await asyncio.sleep(0.005)
    return page.frame


def test_every_service_can_refetch_any_models(site: Site) -> None:
    page = site.page()
    answer = page.open_one(refetching(site, "Order", "Customer"))
    assert answer["changes"] == []
    assert "stale" not in answer
    site.publish(insert({"no": "key"}, model="Product"))
    assert page.frames == []
    site.publish(insert({"no": "key"}, model="Customer"))
    assert page.frame == stale(site, answer)


@pytest.mark.parametrize(
    ("delta", "touches"),
    [
        (insert(task(1, team="a")), True),
        (insert(task(1, team="b")), False),
        (update(task(1, team="a"), task(1, team="b")), True),
        (update(task(1, team="b"), task(1, team="a")), True),
        (delete(task(1, team="a")), True),
        (delete(task(1, team="b")), False),
        (insert({"id": 1, "team": "a"}, model="Person"), True),
        (insert({"id": 1, "team": "a"}, model="Other"), False),
    ],
)
def test_a_dealer_may_say_which_rows_matter(site: Site, delta: Any, touches: bool) -> None:
    page = site.page()
    answer = page.open_one(site.token("a", dealer="Overdue"))
    site.publish(delta)
    assert page.frames == ([stale(site, answer)] if touches else [])


def test_a_dealer_that_fails_has_its_pages_fetch(site: Site, expect_log: Any) -> None:
    page = site.page()
    page.open_one(site.token("a", dealer="Overdue"))
    site.publish(insert(task(1)))
    assert page.frame["type"] == "stale"
    expect_log('Dealer "Overdue" failed on a row of model "Task": its pages fetch again')


def test_what_changed_before_the_opening_is_told_by_the_answer(site: Site) -> None:
    early, late = refetching(site, "Task"), refetching(site, "Task", "Person")
    mine, others = site.token("a", dealer="Overdue"), site.token("b", dealer="Overdue")
    before = site.head
    site.publish(insert(task(1, team="a")))
    page = site.page()
    answers = page.open(early, late, mine, others)
    assert [answer.get("stale") for answer in answers] == [True, True, True, None]

    again = site.page().open_one(answers[0]["token"], since=site.head)
    assert "stale" not in again
    assert site.page().open_one(again["token"], since=before)["stale"] is True


async def test_pages_are_told_at_most_once_a_second(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(notices, "SECONDS_BETWEEN_STALE", 0.2)
    page = site.page()
    answer = page.open_one(refetching(site, "Task"))
    loop = asyncio.get_running_loop()
    site.publish(insert(task(1)))
    first = loop.time()
    assert page.frame == stale(site, answer)
    for number in range(5):
        site.publish(insert(task(number)))
    assert page.frames == []

    frame = await next_frame(page)
    assert loop.time() - first >= 0.19
    # At the position at which it is sent, not that of the touch.
    assert frame == stale(site, answer)
    await asyncio.sleep(0.25)
    assert page.frames == []


async def test_the_position_is_that_at_which_it_is_sent(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(notices, "SECONDS_BETWEEN_STALE", 0.1)
    page = site.page()
    page.open_one(refetching(site, "Task"))
    site.publish(insert(task(1)))
    page.frames  # noqa: B018
    site.publish(insert(task(2)))
    touched = site.head
    site.publish(insert({"id": 1}, model="Person"))
    frame = await next_frame(page)
    assert frame["position"] == site.head != touched


async def test_the_last_touch_is_told_in_time_and_spread(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(notices, "SECONDS_OF_SPREAD", 0.2)
    pages = [site.page() for _ in range(100)]
    for page in pages:
        page.open_one(refetching(site, "Task"))
    loop = asyncio.get_running_loop()
    before = loop.time()
    site.publish(insert(task(1)))
    at_once = sum(bool(page.received) for page in pages)
    assert at_once < 60
    for page in pages:
        assert (await next_frame(page))["position"] == site.head
    assert loop.time() - before < 1


def test_a_page_that_left_is_told_nothing(site: Site) -> None:
    page = site.page()
    answer = page.open_one(refetching(site, "Task"))
    page.close_lists(answer["subscription"])
    site.publish(insert(task(1)))
    assert page.frames == []


def test_a_reset_ends_them_too(site: Site) -> None:
    page = site.page()
    page.open_one(refetching(site, "Order", "Task"))
    site.publish(reset("Order"))
    assert (page.frame["type"], page.frames) == ("resync", [])


def test_rows_or_refetching_not_both(site: Site) -> None:
    with pytest.raises(RPCError, match="not both"):
        site.tokens(("Tasks", ["and"]), ("refetch", {"models": ["Task"]}))
    page = site.page()
    rows, fetched = page.open(site.token(), refetching(site, "Task"))
    site.publish(insert(task(1, team="")))
    assert [frame["type"] for frame in page.frames] == ["changes", "stale"]
    assert rows["items"] != fetched["items"]


@pytest.mark.parametrize(
    "query", [None, "Task", {}, {"models": []}, {"models": "Task"}, {"models": [1]}, ["Task"]]
)
def test_the_query_names_models(site: Site, query: Any) -> None:
    with pytest.raises(RPCError, match=r'^expected \{"models"'):
        site.token(query, dealer="refetch")


def test_classic_pages_cannot_acquire_what_tells_no_rows(site: Site) -> None:
    with pytest.raises(RPCError, match="No such subscription"):
        call(site.service, site.page(), "acquireSubscription", token=refetching(site, "Task"))


def test_the_name_may_be_taken_by_a_dealer_of_ones_own() -> None:
    class Mine(RefetchDealer):
        name = "refetch"
        models = ("Task",)

    site = Site(Mine)
    page = site.page()
    page.open_one(site.token("anything", dealer="refetch"))
    site.publish(insert(task(1)))
    assert page.frame["type"] == "stale"
