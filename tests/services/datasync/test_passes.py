"""Live only after a pass that began later: openings, relays, and what happens when one stops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.datasync import DataSyncService, FilterDealer
from tests.patience import patient
from tests.services.datasync.wire import Site, WirePage, delete, insert, is_in, task, update

LEASE = 0.4


class ScriptedRelay:
    """A relay that does what the test says."""

    def __init__(self, site: Site, source: str = "main") -> None:
        self.site = site
        self.source = source
        self.fence = ""
        self.place: Any = None
        self.keys = 0

    async def take(self) -> ScriptedRelay:
        lease = await self.site.async_call("takeLease", source=self.source)
        self.fence, self.place = lease["fence"], lease["place"]
        return self

    async def call(self, command: str, **params: Any) -> Any:
        return await self.site.async_call(command, source=self.source, fence=self.fence, **params)

    async def append(self, *deltas: Any, **more: Any) -> list[str]:
        self.keys += 1
        entry = {"key": f"{self.source} {self.keys}", "deltas": list(deltas)}
        positions = await self.call("appendEntries", entries=[entry], **more)
        assert isinstance(positions, list)
        return positions

    async def asked(self, seconds: float = 0.0) -> int:
        asked = await self.call("awaitPass", timeout=seconds)
        assert isinstance(asked, int)
        return asked

    async def end(self, asked: int) -> None:
        assert await self.call("passEnded", asked=asked) is None

    async def pass_once(self) -> None:
        await self.end(await self.asked())


@pytest.fixture
def site() -> Site:
    return Site(relay=True, lease=LEASE)


async def frame(page: WirePage) -> Any:
    """The next frame, once it has come."""
    async with asyncio.timeout(patient(10)):
        while not page.received:
            await asyncio.sleep(0.005)
    return page.frame


def live(page: WirePage, *answers: Any) -> dict[str, Any]:
    return {
        "type": "live",
        "subscriptions": [answer["subscription"] for answer in answers],
        "position": str(page.service.changes.processed),
    }


# Opening


async def test_an_opening_is_live_after_a_pass_that_began_later(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page = site.page()
    first, second = page.open(site.token(), site.token(dealer="People"))
    assert (first["live"], second["live"]) == (False, False)

    asked = await relay.asked()
    assert asked == 1  # all of a call share one
    await relay.append(insert(task(1)))
    assert [change["key"] for change in page.changes] == [1]
    await relay.end(asked)
    assert page.frame == live(page, first, second)
    await relay.end(asked)
    assert page.frames == []


async def test_a_pass_that_began_before_the_opening_does_not_count(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    early, late = site.page(), site.page()
    early.open_one(site.token())
    asked = await relay.asked()
    answer = late.open_one(site.token())
    await relay.end(asked)

    assert early.frame["type"] == "live"
    assert late.frames == []
    await relay.pass_once()
    assert late.frame == live(late, answer)


async def test_all_who_asked_before_it_began_share_a_pass(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    pages = [site.page() for _ in range(3)]
    for page in pages:
        page.open_one(site.token())
    assert await relay.asked() == 3
    await relay.end(3)
    assert [page.frame["type"] for page in pages] == ["live"] * 3


async def test_after_a_restart_nothing_is_live_before_the_relay_is_back(site: Site) -> None:
    page = site.page()
    answer = page.open_one(site.token())
    assert answer["live"] is False
    assert page.frames == []

    relay = await ScriptedRelay(site).take()
    await relay.pass_once()
    assert page.frame == live(page, answer)


async def test_without_a_relay_all_is_live() -> None:
    assert Site().page().open_one(Site().token())["recovered"] is False  # another epoch
    site = Site()
    assert site.page().open_one(site.token())["live"] is True


async def test_an_opening_waits_for_all_sources_of_its_own_models() -> None:
    site = Site(relay={"shop": ["Task"], "staff": ["Person", "Task"], "else": ["Other"]}, lease=9)
    shop = await ScriptedRelay(site, "shop").take()
    staff = await ScriptedRelay(site, "staff").take()
    page = site.page()
    tasks, people = page.open(site.token(), site.token(dealer="People"))

    await shop.pass_once()
    assert page.frames == []
    await staff.pass_once()
    assert page.frame == live(page, tasks, people)


async def test_models_without_a_source_are_live_at_once() -> None:
    site = Site(relay={"shop": ["Task"]})
    tasks, people = site.page().open(site.token(), site.token(dealer="People"))
    assert (tasks["live"], people["live"]) == (False, True)


async def test_what_ended_before_the_pass_is_not_told(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page = site.page()
    first, second = page.open(site.token(), site.token(dealer="People"))
    page.close_lists(first["subscription"])
    await relay.pass_once()
    assert page.frame == live(page, second)


# Coming back


async def live_page(site: Site, relay: ScriptedRelay) -> tuple[WirePage, Any]:
    page = site.page()
    answer = page.open_one(site.token())
    await relay.pass_once()
    assert page.frame["type"] == "live"
    return page, answer


async def test_a_list_that_was_live_needs_no_pass(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page, answer = await live_page(site, relay)
    page.leave()
    back = site.page().open_one(answer["token"], since=site.head, live=True)
    assert back["live"] is True


async def test_a_list_that_was_not_live_needs_a_pass(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page, answer = await live_page(site, relay)
    page.leave()
    for more in ({}, {"since": site.head}, {"since": site.head, "live": False}, {"live": True}):
        answer = site.page().open_one(answer["token"], **more)
        assert (answer["recovered"], answer["live"]) == (True, False)


async def test_a_list_that_comes_back_while_its_source_is_late_is_late(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page, answer = await live_page(site, relay)
    page.leave()
    await lapsed(site)
    page = site.page()
    back = page.open_one(answer["token"], since=site.head, live=True)
    assert back["live"] is False

    relay = await ScriptedRelay(site).take()
    await relay.pass_once()
    assert page.frame == live(page, back)


# Late


async def lapsed(site: Site) -> None:
    async with asyncio.timeout(patient(10)):
        while site.service.changes.log.leases():
            await asyncio.sleep(0.01)


async def test_while_a_lease_has_lapsed_lists_are_late(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page, answer = await live_page(site, relay)
    assert await frame(page) == {"type": "late", "subscriptions": [answer["subscription"]]}

    # Rows stay, and changes go on being told.
    await relay.append(insert(task(1)))
    assert page.changes == [is_in(task(1), *answer["items"])]
    await relay.pass_once()
    assert page.frame == live(page, answer)


async def test_who_is_late_is_live_only_after_a_pass_that_began_later(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page, _ = await live_page(site, relay)
    asked = await relay.asked()  # and then it is suspended
    assert (await frame(page))["type"] == "late"
    await relay.end(asked)
    assert page.frames == []
    await relay.pass_once()
    assert page.frame["type"] == "live"


async def test_a_source_that_stops_while_others_are_waited_for_is_waited_for_too() -> None:
    site = Site(relay={"shop": ["Task"], "staff": ["Task"]}, lease=LEASE)
    shop = await ScriptedRelay(site, "shop").take()
    staff = await ScriptedRelay(site, "staff").take()
    page = site.page()
    answer = page.open_one(site.token())
    await shop.pass_once()
    async with asyncio.timeout(patient(10)):
        while "shop" in site.service.changes.log.leases():
            await staff.asked()
            await asyncio.sleep(0.02)
    site.look()
    await staff.pass_once()
    assert page.frames == []
    await shop.pass_once()
    assert page.frame == live(page, answer)


async def test_a_relay_that_gives_signs_of_life_is_not_late(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page, _ = await live_page(site, relay)
    loop = asyncio.get_running_loop()
    ends = loop.time() + 3 * LEASE
    while loop.time() < ends:
        await relay.asked(0.05)
    assert page.frames == []


async def test_a_process_that_is_behind_says_so(monkeypatch: Any) -> None:
    site = Site()
    page = site.page()
    answer = page.open_one(site.token())
    lag = 11.0
    monkeypatch.setattr(type(site.service.changes.log), "lag", property(lambda log: lag))
    site.look()
    assert page.frame == {"type": "late", "subscriptions": [answer["subscription"]]}
    assert site.page().open_one(site.token())["live"] is False
    site.publish(insert(task(1)))
    assert len(page.changes) == 1

    lag = 0.0
    site.look()
    assert page.frame == live(page, answer)


# Relays


async def test_one_relay_has_the_lease(site: Site) -> None:
    await ScriptedRelay(site).take()
    with pytest.raises(RPCError, match=r"^Lease is held$"):
        await ScriptedRelay(site).take()
    await lapsed(site)
    await ScriptedRelay(site).take()


async def test_a_lease_that_was_ended_is_there_for_the_next() -> None:
    site = Site(relay=True, lease=60)
    relay, other = ScriptedRelay(site), ScriptedRelay(site)
    await relay.take()
    await site.async_call("endLease", source="main", fence=relay.fence)
    assert site.service.changes.log.leases() == {}
    await other.take()
    for command in ("endLease", "awaitPass"):
        params = {"timeout": 0} if command == "awaitPass" else {}
        with pytest.raises(RPCError, match=r"^Fence is old$"):
            await site.async_call(command, source="main", fence=relay.fence, **params)
    assert [*site.service.changes.log.leases()] == ["main"]


async def test_an_unknown_source_gets_no_lease(site: Site) -> None:
    with pytest.raises(RPCError, match=r"^Unknown source$"):
        await ScriptedRelay(site, "shop").take()
    with pytest.raises(RPCError, match=r"^Unknown source$"):
        await ScriptedRelay(Site()).take()


async def test_an_old_fence_changes_nothing(site: Site) -> None:
    old = await ScriptedRelay(site).take()
    await lapsed(site)
    new = await ScriptedRelay(site).take()
    head = site.head
    unknown = ScriptedRelay(site, "shop")
    for relay in (old, unknown):
        for refused in (
            relay.append(insert(task(1)), place=1),
            relay.asked(),
            relay.end(1),
        ):
            with pytest.raises(RPCError, match=r"^Fence is old$"):
                await refused
    assert site.head == head
    await lapsed(site)
    assert (await ScriptedRelay(site).take()).place is None
    with pytest.raises(RPCError, match=r"^Fence is old$"):
        await new.asked()


async def test_the_place_of_a_relay_is_kept_with_its_entries(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    assert relay.place is None
    await relay.append(place={"id": 7})
    await relay.append(insert(task(1)))
    await lapsed(site)
    assert (await ScriptedRelay(site).take()).place == {"id": 7}


async def test_a_place_may_be_so_large(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    await relay.append(place="x" * 1022)
    with pytest.raises(RPCError, match="Place too large"):
        await relay.append(place="x" * 1023)


async def test_entries_are_appended_once(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    page = site.page()
    (item,) = page.open_one(site.token())["items"]
    entries = [{"key": str(number), "deltas": [insert(task(number))]} for number in range(3)]
    positions = await relay.call("appendEntries", entries=entries[:2])
    again = await relay.call("appendEntries", entries=entries)

    assert again[:2] == positions
    assert again[2] == site.head
    assert page.changes == [is_in(task(number), item) for number in range(3)]


async def test_a_row_between_two_transactions_of_an_entry_is_told_out(site: Site) -> None:
    """T5 puts a row in, the page queries, T6 takes it out, and both are one entry."""
    relay = await ScriptedRelay(site).take()
    page = site.page()
    token = site.token(["==", "done", False])
    answer = page.open_one(token)
    row = task(1, done=False)
    deltas = [
        insert(row),
        delete(row),
        {
            "type": "update",
            "model": "Task",
            "newData": task(2, done=False),
            "oldData": task(2, done=True),
        },
        {
            "type": "update",
            "model": "Task",
            "newData": task(2, done=True),
            "oldData": task(2, done=False),
        },
    ]
    await relay.append(*deltas)
    outs = [
        {"model": "Task", "key": key, "data": None, "in": [], "out": answer["items"]}
        for key in (1, 2)
    ]
    assert page.changes == outs
    assert site.page().open_one(token)["changes"] == outs


@pytest.mark.parametrize("between", [task(1, n=2), None], ids=["another", "none"])
async def test_a_row_that_is_again_what_it_was_is_told_to_who_may_have_seen_it_between(
    site: Site, between: Any
) -> None:
    """T5 changes a row, the page queries, T6 changes it back, and both are one entry."""
    relay = await ScriptedRelay(site).take()
    page, later = site.page(), site.page()
    token = site.token()
    (item,) = page.open_one(token)["items"]
    row = task(1, n=1)
    await relay.append(*there_and_back(row, between))

    assert page.changes == [is_in(row, item)]
    assert later.open_one(token)["changes"] == [is_in(row, item)]


async def test_a_field_that_is_again_what_it_was_is_told_too(site: Site) -> None:
    class Titles(FilterDealer):
        model = "Task"
        fields = ("title",)

    site.service.register_dealer(Titles)
    relay = await ScriptedRelay(site).take()
    page = site.page()
    (item,) = page.open_one(site.token(dealer="Titles"))["items"]
    first, second, last = task(1, title="a"), task(1, title="b"), task(1, title="a", n=1)
    await relay.append(update(second, first), update(last, second))
    await relay.append(update(task(1, title="a", n=2), last), update(last, task(1, title="a", n=2)))

    assert page.changes == [is_in(task(1, title="a"), item)]


def there_and_back(row: Any, between: Any) -> list[Any]:
    if between is None:
        return [delete(row), insert(row)]
    return [update(between, row), update(row, between)]


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([None], "Missing field 'key'"),
        ([{"key": "a"}], "Missing field 'deltas'"),
        ([{"key": 5, "deltas": []}], "keys must be texts"),
        ([{"key": "a", "deltas": [], "keys": ["x" * 201]}], "keys must be texts"),
        ([{"key": "a", "deltas": [], "keys": "b"}], "keys must be texts"),
        ([{"key": "a", "deltas": "x"}], "deltas must be list"),
        ([{"key": "a", "deltas": [{}]}], "Missing field 'type'"),
        ([{"key": str(n), "deltas": []} for n in range(1001)], "Too many entries"),
        ([{"key": "a", "deltas": [insert({"x": "x" * 1024 * 1024})]}], "Entry too large"),
    ],
)
async def test_a_faulty_step_is_refused_whole(site: Site, entries: Any, error: str) -> None:
    relay = await ScriptedRelay(site).take()
    head = site.head
    good = {"key": "good", "deltas": [insert(task(1))]}
    with pytest.raises(RPCError, match=error):
        await relay.call("appendEntries", entries=[good, *entries][:1001])
    assert site.head == head


async def test_a_step_may_be_so_large() -> None:
    site = Site(relay=True, log_bytes=4000)
    relay = await ScriptedRelay(site).take()
    with pytest.raises(RPCError, match="Step too large"):
        await relay.append(insert(task(1, text="x" * 1000)))


async def test_a_relay_waits_for_who_asks_next(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    waiting = asyncio.ensure_future(relay.asked(5))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    site.page().open_one(site.token())
    async with asyncio.timeout(patient(10)):
        assert await waiting == 1


async def test_a_relay_is_answered_at_once_while_somebody_waits(site: Site) -> None:
    relay = await ScriptedRelay(site).take()
    assert await relay.asked(0.01) == 0
    site.page().open_one(site.token())
    async with asyncio.timeout(patient(10)):
        assert await relay.asked(60) == 1
        assert await relay.asked(60) == 1
    await relay.end(1)
    assert await relay.asked(0.01) == 1


@pytest.mark.parametrize("relay", ["main", 5, {"shop": "Task"}])
def test_relays_are_configured_by_the_models_of_each_source(relay: Any) -> None:
    with pytest.raises((TypeError, AttributeError), match=r"relay is True|must be a list"):
        DataSyncService("datasync", relay=relay)


async def test_a_refetching_list_waits_for_the_sources_of_its_models() -> None:
    site = Site(relay={"shop": ["Order"], "staff": ["Person"]}, lease=9)
    shop = await ScriptedRelay(site, "shop").take()
    page = site.page()
    answer = page.open_one(site.token({"models": ["Order"]}, dealer="refetch"))
    assert answer["live"] is False
    await shop.pass_once()
    assert page.frame == live(page, answer)
