"""Lists across processes: authorised in one, opened in another, resumed in a third.

Each process is a service with a broker of its own; the engine between them is a real one, and any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from snorky.brokers.postgres import PostgresBroker
from snorky.brokers.redis import RedisBroker
from snorky.services.base import RPCError
from snorky.testing import async_call
from tests.brokers.proxy import Proxy
from tests.conftest import ExpectLog
from tests.patience import patient
from tests.servers import Valkey
from tests.services.datasync.wire import ALL, Site, WirePage, insert, task

Process = Callable[..., Awaitable[Site]]


@pytest.fixture(params=["valkey", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return str(request.getfixturevalue("valkey").url)


on_valkey = pytest.mark.parametrize("url", ["valkey"], indirect=True)


@pytest.fixture
async def process(url: str) -> AsyncIterator[Process]:
    """``await process()`` -> one more process, which was started."""
    sites: list[Site] = []
    engine = RedisBroker if url.startswith("redis") else PostgresBroker

    async def start(url: str = url, **options: Any) -> Site:
        broker = engine(url, timeout=patient(2))
        site = Site(broker=broker, token_key="everybody's", **options)
        await broker.start()
        await site.service.start()
        sites.append(site)
        return site

    yield start
    for site in sites:
        await site.service.stop()
        await site.service.broker.stop()


async def token(site: Site, **more: Any) -> str:
    items = [{"dealer": "Tasks", "query": ALL}]
    made = await site.async_call("authorizeSubscription", items=items, **more)
    assert isinstance(made, str)
    return made


async def open_one(page: WirePage, text: str, **more: Any) -> Any:
    wanted = [{"token": text, **more}]
    (answer,) = await async_call(page.service, page, "openSubscriptions", subscriptions=wanted)
    return answer


async def frame(page: WirePage) -> Any:
    async with asyncio.timeout(patient(10)):
        while not page.messages:
            await asyncio.sleep(0.005)
    first = page.messages[0]
    page.received.clear()
    return first


async def read(site: Site, position: str) -> None:
    """Wait until a process has read what another one has appended."""
    async with asyncio.timeout(patient(10)):
        while str(site.service.changes.processed) != position:
            await asyncio.sleep(0.005)


async def test_a_list_moves_from_process_to_process_and_misses_nothing(process: Process) -> None:
    one, two, three = [await process() for _ in range(3)]
    page = two.page()
    opened = await open_one(page, await token(one))
    assert (opened["recovered"], opened["live"]) == (True, True)
    position = await one.async_call("publishDeltas", deltas=[insert(task(1))], key="a")
    told = await frame(page)
    assert [change["key"] for change in told["changes"]] == [1]
    assert told["position"] == position
    page.leave()
    position = await two.async_call("publishDeltas", deltas=[insert(task(2))], key="b")
    await read(three, position)

    page = three.page()
    again = await open_one(page, opened["token"], since=told["position"], live=True)
    assert (again["recovered"], again["live"]) == (True, True)
    assert [change["key"] for change in again["changes"]] == [2]
    await three.async_call("publishDeltas", deltas=[insert(task(3))])
    assert [change["key"] for change in (await frame(page))["changes"]] == [3]


async def test_the_same_key_is_the_same_publication_wherever_it_is_sent(process: Process) -> None:
    one, two = await process(), await process()
    page = two.page()
    await open_one(page, await token(one))
    positions = [
        await site.async_call("publishDeltas", deltas=[insert(task(1))], key="a")
        for site in (one, two, one)
    ]
    await two.async_call("publishDeltas", deltas=[insert(task(2))])
    assert len({*positions}) == 1
    assert [change["key"] for change in (await frame(page))["changes"]] == [1]


async def test_a_revocation_reaches_every_process_also_one_that_comes_later(
    process: Process,
) -> None:
    one, two = await process(), await process()
    page = two.page()
    await open_one(page, await token(one, subject="alice"))
    older = await token(two, subject="alice")
    await one.async_call("revokeSubscriptions", subject="alice")
    assert (await frame(page))["reason"] == "revoked"

    late = await process()
    for site in (one, two, late):
        assert (await open_one(site.page(), older))["reason"] == "revoked"
    assert (await open_one(late.page(), await token(late, subject="alice")))["recovered"]


async def test_a_classic_token_is_acquired_once_in_all_processes(process: Process) -> None:
    one, two = await process(), await process()
    text = await token(one)
    page = two.page()
    await async_call(two.service, page, "acquireSubscription", token=text)
    with pytest.raises(RPCError, match="No such subscription"):
        await async_call(one.service, one.page(), "acquireSubscription", token=text)
    await one.async_call("publishDeltas", deltas=[insert(task(1))])
    told = await frame(page)
    assert (told["type"], told["delta"]["data"]) == ("delta", task(1))


async def test_a_list_with_a_relay_is_live_after_a_pass_that_another_process_heard_of(
    process: Process,
) -> None:
    one, two = [await process(relay=True, lease=5.0) for _ in range(2)]
    lease = await one.async_call("takeLease", source="main")
    relay = {"source": "main", "fence": lease["fence"]}
    page = two.page()
    opened = await open_one(page, await token(two))
    assert opened["live"] is False
    asked = await one.async_call("awaitPass", timeout=patient(5), **relay)
    assert asked == 1
    await one.async_call("passEnded", asked=asked, **relay)
    told = await frame(page)
    assert (told["type"], told["subscriptions"]) == ("live", [opened["subscription"]])


@on_valkey
async def test_a_fetched_list_waits_for_what_its_process_has_not_read(
    process: Process, valkey: Valkey, expect_log: ExpectLog
) -> None:
    """What the page fetched may show it: told afterwards, it would take the list back."""
    proxy = await Proxy(valkey.port).start()
    near, slow = await process(), await process(proxy.url)
    text = await token(slow)
    proxy.delay = 0.1
    await near.async_call("publishDeltas", deltas=[insert(task(1))])
    answer = await open_one(slow.page(), text)
    assert [change["key"] for change in answer["changes"]] == [1]
    await proxy.stop()
    expect_log.all("is away")


@on_valkey
async def test_while_the_engine_is_away_nothing_is_accepted_and_lists_stay(
    process: Process, valkey: Valkey, expect_log: ExpectLog
) -> None:
    site = await process(max_lag=1.0)
    page = site.page()
    opened = await open_one(page, await token(site))
    await asyncio.to_thread(valkey.stop)
    for command, params in (
        ("publishDeltas", {"deltas": [insert(task(1))], "key": "a"}),
        ("revokeSubscriptions", {"subject": "alice"}),
    ):
        with pytest.raises(RPCError, match="The log is not available"):
            await site.async_call(command, **params)
    assert await frame(page) == {"type": "late", "subscriptions": [opened["subscription"]]}

    # It has forgotten everything: lists are fetched again.
    await asyncio.to_thread(valkey.start)
    told = await frame(page)
    assert (told["type"], told["reason"]) == ("resync", "lost")
    async with asyncio.timeout(patient(10)):
        while True:
            try:
                position = await site.async_call("publishDeltas", deltas=[insert(task(1))], key="a")
                break
            except RPCError:
                await asyncio.sleep(0.05)
    again = await open_one(page, await token(site, after=position))
    assert again["recovered"]
    if not again["live"]:  # it takes a moment to know that it has caught up
        assert (await frame(page))["type"] == "live"
    assert (await open_one(site.page(), opened["token"]))["reason"] == "epoch"
    assert expect_log.all("is away")
    assert expect_log.all("does not continue")
