"""Cursors in several processes: everybody in a document sees the cursors of everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky.brokers.memory import MemoryBroker
from snorky.processes import Processes
from snorky.services.cursors import CursorsService
from snorky.testing import FakeClient, async_call
from tests.lines import until
from tests.one_engine import Connection


@pytest.fixture(autouse=True)
def quick_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {"beat": 0.02, "gone": 0.4}
    monkeypatch.setattr(Processes.__init__, "__kwdefaults__", defaults)


class Page(FakeClient):
    def __init__(self, cursors: CursorsService, identity: str) -> None:
        super().__init__(identity)
        self.cursors = cursors

    async def call(self, command: str, **params: Any) -> Any:
        return await async_call(self.cursors, self, command, **params)

    async def join(self) -> Any:
        return (await self.call("join", document="plan"))["cursors"]

    async def create(self, handle: Any, position: Any) -> Any:
        place = {"document": "plan", "position": position, "status": None}
        return await self.call("createCursor", privateHandle=handle, **place)

    def heard(self) -> list[Any]:
        return [
            (message["type"], message["cursor"]["publicHandle"], message["cursor"].get("position"))
            for message in self.messages
        ]


@pytest.fixture
async def processes() -> AsyncIterator[list[CursorsService]]:
    engine = MemoryBroker()
    both = [CursorsService("cursors", Connection(engine)) for _ in range(2)]
    for each in both:
        await each.start()
    await until(lambda: all(each.processes.others for each in both))
    yield both
    for each in both:
        each.broker.cut = False  # type: ignore[attr-defined]
        await each.stop()


async def test_cursors_are_seen_in_other_processes_as_in_this_one(
    processes: list[CursorsService],
) -> None:
    first, second = processes
    alice, neighbour, bob = Page(first, "alice"), Page(first, "n"), Page(second, "bob")
    for page in (alice, neighbour, bob):
        await page.join()
    handle = await alice.create("mine", 1)
    await alice.call("updateCursor", privateHandle="mine", newData={"position": 2})
    await alice.call("updateCursor", privateHandle="mine", newData={"position": 2})
    await alice.call("removeCursor", privateHandle="mine")
    for page in (neighbour, bob):
        await until(lambda page=page: len(page.heard()) == 4)
        assert page.heard() == [
            ("cursorAdded", handle, 1),
            ("cursorUpdated", handle, 2),
            ("cursorUpdated", handle, 2),
            ("cursorRemoved", handle, None),
        ]
    assert alice.heard() == []


async def test_who_joins_is_given_the_cursors_of_all_processes(
    processes: list[CursorsService],
) -> None:
    first, second = processes
    alice, bob = Page(first, "alice"), Page(second, "bob")
    await alice.join()
    handle = await alice.create(1, {"line": 7})
    cursor = {
        "publicHandle": handle,
        "document": "plan",
        "position": {"line": 7},
        "status": None,
        "owner": "alice",
    }
    assert await bob.join() == [cursor]
    other = await bob.create(1, 2)
    assert other != handle
    assert max(other, handle) < 2**53
    await until(lambda: alice.heard() == [("cursorAdded", other, 2)])


async def test_the_cursors_of_who_left_or_died_are_removed(
    processes: list[CursorsService],
) -> None:
    first, second = processes
    alice, bob, carol = Page(first, "alice"), Page(second, "bob"), Page(second, "carol")
    for page in (alice, bob, carol):
        await page.join()
    one, two = await bob.create(1, 1), await carol.create(1, 2)
    await until(lambda: len(alice.heard()) == 2)
    second.client_disconnected(bob)
    await until(lambda: alice.heard()[2:] == [("cursorRemoved", one, None)])
    timer = second.processes._timer
    assert timer is not None
    timer.cancel()
    second.broker.cut = True  # type: ignore[attr-defined]
    await until(lambda: alice.heard()[3:] == [("cursorRemoved", two, None)])
    assert await Page(first, "late").join() == []
