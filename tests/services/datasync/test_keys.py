"""Writes that settle: a page waits until it was told of its own transactions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.testing import async_call
from tests.patience import patient
from tests.services.datasync.wire import Site, insert, task


@pytest.fixture
def site() -> Site:
    return Site()


async def wait(site: Site, page: Any, *keys: Any, timeout: float = patient(5)) -> Any:  # noqa: ASYNC109
    return await async_call(site.service, page, "awaitKeys", keys=list(keys), timeout=timeout)


async def test_the_position_of_a_key_is_answered(site: Site) -> None:
    position = site.publish(insert(task(1)), key="a")
    site.publish(insert(task(2)))
    assert await wait(site, site.page(), "a") == position


async def test_of_several_keys_the_newest_counts(site: Site) -> None:
    site.publish(insert(task(1)), key="a")
    position = site.publish(insert(task(2)), key="b")
    assert await wait(site, site.page(), "b", "a") == position


async def test_the_keys_of_transactions_in_an_entry_are_known(site: Site) -> None:
    site = Site(relay=True)
    lease = await site.async_call("takeLease", source="main")
    (position,) = await site.async_call(
        "appendEntries",
        source="main",
        fence=lease["fence"],
        entries=[{"key": "own", "keys": ["t5", "t6"], "deltas": [insert(task(1))]}],
    )
    for key in ("own", "t5", "t6"):
        assert await wait(site, site.page(), key) == position


async def test_a_key_that_is_to_come_is_waited_for(site: Site) -> None:
    page = site.page()
    page.open_one(site.token())
    waiting = asyncio.ensure_future(wait(site, page, "a", "b"))
    await asyncio.sleep(0)
    site.publish(insert(task(1)), key="b")
    await asyncio.sleep(0.01)
    assert not waiting.done()
    position = site.publish(insert(task(2)), key="a")
    assert await waiting == position
    assert len(page.changes) == 2  # they came before the answer


async def test_unknown_keys_are_not_waited_for_for_ever(site: Site) -> None:
    site.publish(insert(task(1)), key="a")
    with pytest.raises(RPCError, match=r"^Unknown keys$"):
        await wait(site, site.page(), "a", "unknown", timeout=0.02)
    assert site.service.changes.keys._waiting == {}


async def test_keys_are_known_as_long_as_their_entries_are_kept() -> None:
    site = Site(log_bytes=1000)
    for number in range(50):
        site.publish(insert(task(number)), key=str(number))
    with pytest.raises(RPCError, match=r"^Unknown keys$"):
        await wait(site, site.page(), "0", timeout=0)
    keys = site.service.changes.keys
    assert 0 < len(keys._positions) == len(keys._by_seq) < 20


@pytest.mark.parametrize("keys", [[], ["a"] * 101, ["x" * 201]])
async def test_the_keys_of_a_call_are_bounded(site: Site, keys: Any) -> None:
    with pytest.raises(RPCError, match="expected 1 to 100 keys"):
        await wait(site, site.page(), *keys)
