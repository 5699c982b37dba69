"""What do live lists cost the server: to come back, to be kept, and to hear of a large transaction?

return       --clients pages with three lists each out of --lists shared ones are cut, hear
             nothing of --writes changes, and come back: CPU of the server for each, handshake not
             included, and how long until the last one is live
own          the same with a list of its own for every page
memory       bytes for each subscription: --clients pages that share one item, and as many with
             filters of their own
transaction  1,000 rows in one entry against 5,000 different `==` filters, one page each: how long
             until all is delivered, and how long a bystander waits for his turn meanwhile

In one process, with clients that have no connection: what is counted is DataSync alone.
"""

import argparse
import asyncio
import gc
import resource
import time
import tracemalloc
from typing import Any

from snorky.envelope import Envelope
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer
from snorky.testing import FakeClient, async_call


class Rows(FilterDealer):
    model = "Row"


class Client(FakeClient):
    """Counts the frames of changes that it is sent. As a connection does, it has each text made."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = 0

    def send(self, msg: Any) -> None:
        if isinstance(msg, Envelope):
            self.frames += bool(msg.text)


class Site:
    def __init__(self) -> None:
        self.service = DataSyncService("datasync", [Rows])
        self.backend = DataSyncBackend("backend", self.service)
        self.web = FakeClient()

    async def token(self, query: Any) -> str:
        items = [{"dealer": "Rows", "query": query}]
        token = await async_call(self.backend, self.web, "authorizeSubscription", items=items)
        assert isinstance(token, str)
        return token

    async def open(self, client: FakeClient, subscriptions: list[Any]) -> list[Any]:
        answer = await async_call(
            self.service, client, "openSubscriptions", subscriptions=subscriptions
        )
        assert all(each["recovered"] for each in answer), answer
        return list(answer)

    async def publish(self, rows: list[Any]) -> None:
        deltas = [{"type": "insert", "model": "Row", "data": row} for row in rows]
        await async_call(self.backend, self.web, "publishDeltas", deltas=deltas)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def query(number: int) -> Any:
    return ["==", "list", number]


async def come_back(clients: int, lists: int, writes: int) -> dict[str, float]:
    site = Site()
    resumed: list[list[Any]] = []
    for number in range(clients):
        client = FakeClient()
        tokens = [await site.token(query((number * 3 + each) % lists)) for each in range(3)]
        answers = await site.open(client, [{"token": token} for token in tokens])
        position = answers[-1]["position"]
        resumed.append(
            [{"token": each["token"], "since": position, "live": True} for each in answers]
        )
        site.service.client_disconnected(client)
    for start in range(0, writes, 100):
        rows = [{"id": start + each, "list": (start + each) % lists} for each in range(100)]
        await site.publish(rows)
    gc.collect()
    before, began = cpu_seconds(), time.perf_counter()
    for subscriptions in resumed:
        answers = await site.open(FakeClient(), subscriptions)
        assert all(each["live"] for each in answers)
    return {
        "CPU us per client": (cpu_seconds() - before) / clients * 1e6,
        "seconds until the last is live": time.perf_counter() - began,
    }


async def memory(clients: int, *, shared: bool) -> dict[str, float]:
    site = Site()
    kept = [Client() for _ in range(clients)]
    tokens = [await site.token(query(0 if shared else number)) for number in range(clients)]
    for client in kept[:1]:
        await site.open(client, [{"token": tokens[0]}])
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for client, token in zip(kept[1:], tokens[1:], strict=True):
        await site.open(client, [{"token": token}])
    await asyncio.sleep(0)  # the loop forgets the timers of calls that have been answered
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {"bytes per subscription": used / (clients - 1)}


async def transaction(rows: int, filters: int) -> dict[str, float]:
    site = Site()
    clients = [Client() for _ in range(filters)]
    for number, client in enumerate(clients):
        await site.open(client, [{"token": await site.token(query(number))}])
    waits: list[float] = []
    done = asyncio.Event()

    async def bystander() -> None:
        while not done.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0)
            waits.append(time.perf_counter() - began)

    watching = asyncio.create_task(bystander())
    await asyncio.sleep(0)
    began = time.perf_counter()
    await site.publish([{"id": each, "list": each * 5 % filters} for each in range(rows)])
    took = time.perf_counter() - began
    done.set()
    await watching
    assert sum(client.frames for client in clients) == rows
    waits.sort()
    return {
        "ms until all is delivered": took * 1e3,
        "bystander p99 ms": waits[int(0.99 * (len(waits) - 1))] * 1e3,
        "bystander worst ms": waits[-1] * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--lists", type=int, default=1_000)
    parser.add_argument("--writes", type=int, default=10_000)
    options = parser.parse_args()
    clients = options.clients
    for name, work in (
        ("return", come_back(clients, options.lists, options.writes)),
        ("own", come_back(clients, 3 * clients, options.writes)),
        ("memory, shared", memory(clients, shared=True)),
        ("memory, own", memory(clients, shared=False)),
        ("transaction", transaction(1_000, 5_000)),
    ):
        figures = asyncio.run(work)
        print(f"{name}: " + ", ".join(f"{key} {value:,.1f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
