"""Events in several processes: a web application may ask any of them for any page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky.brokers.memory import MemoryBroker
from snorky.services.base import RPCError
from snorky.services.events import EventsBackend, EventsService
from snorky.testing import FakeClient, async_call, call
from tests.lines import until
from tests.one_engine import Connection


class Process:
    def __init__(self, engine: MemoryBroker) -> None:
        self.events = EventsService("events", Connection(engine))
        self.backend = EventsBackend("events_backend", self.events)

    async def ask(self, command: str, **params: Any) -> Any:
        return await async_call(self.backend, FakeClient(), command, **params)


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    engine = MemoryBroker()
    both = [Process(engine), Process(engine)]
    for each in both:
        await each.events.start()
        await each.backend.start()
    await until(lambda: all(each.events.processes.others for each in both))
    yield both
    for each in both:
        await each.backend.stop()
        await each.events.stop()


async def test_a_page_is_connected_and_updated_by_way_of_any_process(
    processes: list[Process],
) -> None:
    first, second = processes
    page = FakeClient()
    page_id = call(first.events, page, "getId")
    await second.ask("connect", clientId=page_id, path=["/jobs/7", "/news/*"])
    await second.ask("update", path="/jobs/7", message=50)
    await until(lambda: page.messages)
    assert page.messages == [{"type": "update", "path": "/jobs/7", "message": 50}]

    await second.ask("disconnect", clientId=page_id, path="/jobs/7")
    await second.ask("update", path="/jobs/7", message=60)
    await first.ask("update", path="/news/a", message=1)
    await until(lambda: len(page.messages) == 2)
    assert page.messages[1]["path"] == "/news/a"


async def test_refusals_come_from_the_process_that_has_the_page(processes: list[Process]) -> None:
    first, second = processes
    page = FakeClient()
    page_id = call(first.events, page, "getId")
    with pytest.raises(RPCError, match="begin with ::"):
        await second.ask("connect", clientId=page_id, path="::connect")
    first.events.client_disconnected(page)
    for unknown in (page_id, "nobody", f"{second.events.processes.id}-1", "no-1"):
        for process in processes:
            with pytest.raises(RPCError, match=r"^Unknown client id$"):
                await process.ask("connect", clientId=unknown, path="/jobs/7")


async def test_a_tap_may_be_asked_for_in_any_process(processes: list[Process]) -> None:
    first, second = processes
    opened = await first.ask("watch", paths=["/jobs/*"])
    await until(lambda: first.events._listeners.get("events//jobs/*"))
    await second.ask("update", path="/jobs/7", message=1)
    seen = await second.ask("watch", tap=opened["tap"], after=0)
    assert seen["updates"] == [{"path": "/jobs/7", "message": 1}]
    await second.ask("unwatch", tap=opened["tap"])
    for process in processes:
        with pytest.raises(RPCError, match="Unknown tap"):
            await process.ask("watch", tap=opened["tap"], after=0)
    await second.ask("unwatch", tap=opened["tap"])
