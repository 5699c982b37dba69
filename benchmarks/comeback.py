"""What do live lists cost a server whose pages are cut off and come back while others write?

--clients pages with three lists each are cut off, --away seconds long, during --writes
transactions a second, each of which touches one list. Then all come back within --spread seconds,
with WebSockets of their own, and must be live again.

shared  the lists are three of 1,000 for everybody
own     every page has three lists of its own

CPU of the server counts from the first page that comes back until the last is live, handshakes
included, less what the writes alone cost in that time, as measured while all were away. How fast
pages can be is the generator's limit as well: it is one process, on a core of its own.
"""

import argparse
import asyncio
import json
import os
import random
import sys

from harness import (
    BenchmarkError,
    Figures,
    RunningServer,
    circumstances,
    raise_descriptor_limit,
    two_cores,
)
from pages import Page, TokenMaker, cpu_seconds, serving

SHARED_LISTS = 1_000
CONNECTING_AT_ONCE = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--writes", type=int, default=1_000, help="each second (1000)")
    parser.add_argument("--away", type=float, default=10, help="seconds (10)")
    parser.add_argument("--spread", type=float, default=2, help="seconds (2)")
    parser.add_argument("--modes", nargs="+", default=["shared", "own"], choices=["shared", "own"])
    options = parser.parse_args()
    print(json.dumps(circumstances()))
    raise_descriptor_limit(options.clients + 500)
    server_core, our_core = two_cores()
    os.sched_setaffinity(0, {our_core})
    for mode in options.modes:
        lists = SHARED_LISTS if mode == "shared" else 3 * options.clients
        try:
            with serving(lists, options.writes, server_core) as server:
                figures = asyncio.run(come_back(server, lists, options))
        except BenchmarkError as error:
            sys.exit(f"comeback: {error}")
        print(f"{mode}: " + ", ".join(f"{key} {value:,.1f}" for key, value in figures.items()))


async def come_back(server: RunningServer, lists: int, options: argparse.Namespace) -> Figures:
    pids = server.pids()
    maker = TokenMaker()
    pages = [
        Page([(number * 3 + each) % lists for each in range(3)], maker)
        for number in range(options.clients)
    ]
    turns = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def first(page: Page) -> None:
        async with turns:
            await page.connect(server.port)

    await asyncio.gather(*map(first, pages))
    await asyncio.sleep(1)
    for page in pages:
        page.drop()
    await asyncio.sleep(min(2, options.away / 2))  # the server notices
    before, began = cpu_seconds(pids), asyncio.get_running_loop().time()
    await asyncio.sleep(options.away - min(2, options.away / 2))
    writing = (cpu_seconds(pids) - before) / (asyncio.get_running_loop().time() - began)

    async def again(page: Page) -> float:
        await asyncio.sleep(random.random() * options.spread)
        return await page.come_back(server.port)

    before, began = cpu_seconds(pids), asyncio.get_running_loop().time()
    waits = sorted(await asyncio.gather(*map(again, pages)))
    took = asyncio.get_running_loop().time() - began
    used = cpu_seconds(pids) - before - writing * took
    refused = sum(page.refused for page in pages)
    if refused:
        raise BenchmarkError(f"expected all lists to be live again, {refused} were refused")
    for page in pages:
        page.drop()
    return {
        "CPU us per client": used / len(pages) * 1e6,
        "seconds until the last is live": took,
        "connections tried again": sum(page.retries for page in pages),
        "p50 ms": waits[len(waits) // 2] * 1e3,
        "p99 ms": waits[int(0.99 * (len(waits) - 1))] * 1e3,
        "CPU % of the writes alone": writing * 100,
        "memory MiB": server.memory_bytes() / 1024**2,
    }


if __name__ == "__main__":
    main()
