"""What pages that show live lists are told: positions, changes, and all that may end a list."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from snorky import ServiceRegistry
from snorky.cli.program import Served
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer
from snorky.testing import FakeClient, async_call
from tests.docs.capture_site import Site
from tests.docs.captures_services import Caller, connected
from tests.docs.transcript import Transcript

OPEN, DONE = ["==", "done", False], ["==", "done", True]


class Tasks(FilterDealer):
    name = "Tasks"
    model = "Task"


class Lists(Site):
    """A site whose web application is the capture itself."""

    def __init__(self, **options: Any) -> None:
        self.datasync = DataSyncService("datasync", [Tasks], **options)
        self.web = DataSyncBackend("datasync_backend", self.datasync)
        self.frontend = ServiceRegistry([self.datasync])
        self.backend = ServiceRegistry([self.web])
        self.served = Served(self.frontend, self.backend, ("swordfish",), None)

    async def call(self, command: str, **params: Any) -> Any:
        return await async_call(self.web, FakeClient(), command, **params)

    async def token(self, query: Any, dealer: str = "Tasks", **more: Any) -> Any:
        items = [{"dealer": dealer, "query": query}]
        return await self.call("authorizeSubscription", items=items, **more)

    async def write(self, kind: str, key: str | None = None, **rows: Any) -> Any:
        deltas = [{"type": kind, "model": "Task", **rows}]
        return await self.call("publishDeltas", deltas=deltas, key=key)


@asynccontextmanager
async def page_of(site: Lists, transcript: Transcript) -> AsyncIterator[Caller]:
    async with site.front_door() as port, connected(port, transcript) as client:
        yield client


async def opens(client: Caller, *subscriptions: Any, hears: int = 1) -> bytes:
    wanted = [{"token": each} if isinstance(each, str) else each for each in subscriptions]
    return await client.asks("datasync", "openSubscriptions", subscriptions=wanted, hears=hears)


async def datasync(transcript: Transcript) -> None:
    await _lists(transcript)
    await _passes(transcript)
    await _refetching(transcript)


async def _lists(transcript: Transcript) -> None:
    site = Lists()
    tea, done = {"id": 1, "title": "Tea", "done": False}, {"id": 1, "title": "Tea", "done": True}
    async with page_of(site, transcript) as client:
        of_open, of_done = await site.token(OPEN), await site.token(DONE, subject="ann")
        await site.write("insert", data=tea)
        transcript.begin("open")
        await opens(client, of_open, of_done)
        transcript.begin("changes")
        await site.write("update", newData=done, oldData=tea, key="a-key-of-the-transaction")
        await client.hears()
        await site.write("delete", data=done)
        await client.hears()
        transcript.begin("keys")
        await client.asks("datasync", "awaitKeys", keys=["a-key-of-the-transaction"])
        await client.asks("datasync", "awaitKeys", keys=["another"], timeout=0)
        transcript.begin("close")
        await client.asks("datasync", "closeSubscriptions", subscriptions=[1, 12345])
        transcript.begin("refresh")
        await site.call("refreshSubscriptions", models=["Task"])
        await client.hears()
        transcript.begin("resync")
        await site.call("revokeSubscriptions", subject="ann")
        await client.hears()
        transcript.begin("refusal")
        await opens(client, of_done, {"token": "no token", "since": "no position"})
        transcript.begin("classic")
        token = await site.token(OPEN)
        await client.asks("datasync", "acquireSubscription", token=token)
        await site.write("reset")
        await client.hears()


async def _passes(transcript: Transcript) -> None:
    site = Lists(relay=True)
    async with page_of(site, transcript) as client:
        lease = await site.call("takeLease", source="main")
        relay = {"source": "main", "fence": lease["fence"]}
        transcript.begin("live")
        await opens(client, await site.token(OPEN))
        asked = await site.call("awaitPass", timeout=0, **relay)
        await site.call("passEnded", asked=asked, **relay)
        await client.hears()
        transcript.begin("late")
        site.datasync.changes.log._sources["main"].lease_ends = 0  # type: ignore[attr-defined]
        site.datasync.upkeep._look()
        await client.hears()


async def _refetching(transcript: Transcript) -> None:
    site = Lists()
    async with page_of(site, transcript) as client:
        transcript.begin("stale")
        await opens(client, await site.token({"models": ["Task"]}, "refetch"))
        await site.write("insert", data={"id": 1})
        await client.hears()
        transcript.begin("mark")
        (opened,) = site.datasync.pages.opened
        site.datasync.openings.renewals._slots = {0: [opened]}
        site.datasync.openings.renewals.look()
        await client.hears()
