"""Does the memory of a server stay flat while pages drop, stall and are abandoned for half an hour?

--clients pages with three lists each (a third of them lists of their own) hear of --writes
transactions a second for --minutes. All the while each of them, every few seconds, does one of:
drop and come back; read nothing for a while, so that it is closed as slow; go for good, and a new
page with new lists comes in its place. The log and what is kept for those who come back are small,
so that they are full after a minute and nothing but a leak can grow.

Memory is what the server's processes hold (PSS), every --every seconds. Flat: the median of the
last quarter is at most 5 % over that of the second.
"""

import argparse
import asyncio
import json
import os
import random
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median

import plots
from harness import RunningServer, circumstances, raise_descriptor_limit, two_cores
from pages import Page, TokenMaker, serving

SHARED_LISTS = 100
MOST_GROWTH = 0.05
OPTIONS = {"log_bytes": 4 * 1024 * 1024, "log_seconds": 60, "item_ttl": 10, "resume_ttl": 60}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--writes", type=int, default=200, help="each second (200)")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=5, help="seconds (5)")
    parser.add_argument("--out", type=Path, help="folder for figures and plot")
    options = parser.parse_args()
    facts = circumstances()
    raise_descriptor_limit(options.clients + 500)
    server_core, our_core = two_cores()
    os.sched_setaffinity(0, {our_core})
    lists = SHARED_LISTS + 20 * options.clients
    with serving(lists, options.writes, server_core, **OPTIONS) as server:
        samples, done = asyncio.run(soak(server, lists, options))
    quarter = max(1, len(samples) // 4)
    second, last = median(samples[quarter : 2 * quarter]), median(samples[-quarter:])
    growth = last / second - 1
    print(json.dumps(facts))
    print(", ".join(f"{count:,} {name}" for name, count in sorted(done.items())))
    print(f"{second:.1f} MiB in the second quarter, {last:.1f} in the last: {growth:+.1%}")
    if options.out:
        keep(options.out, {**facts, "done": done, "every_s": options.every, "MiB": samples})
    sys.exit(growth > MOST_GROWTH)


async def soak(
    server: RunningServer, lists: int, options: argparse.Namespace
) -> tuple[list[float], Counter[str]]:
    done: Counter[str] = Counter()
    pages = [asyncio.create_task(live(server.port, lists, done)) for _ in range(options.clients)]
    while done["came"] < options.clients:  # noqa: ASYNC110  # a Counter tells nobody
        await asyncio.sleep(0.1)
    ends = asyncio.get_running_loop().time() + options.minutes * 60
    samples: list[float] = []
    while asyncio.get_running_loop().time() < ends:
        await asyncio.sleep(options.every)
        samples.append(server.memory_bytes() / 1024**2)
        for page in pages:
            if page.done():
                page.result()
    for page in pages:
        page.cancel()
    await asyncio.gather(*pages, return_exceptions=True)
    return samples, done


async def live(port: int, lists: int, done: Counter[str]) -> None:
    """One seat: pages come and go."""
    while True:
        maker = await asyncio.to_thread(TokenMaker)
        own = random.random() < 1 / 3
        shown = [random.randrange(SHARED_LISTS, lists) for _ in range(3)]
        page = Page(shown if own else [each % SHARED_LISTS for each in shown], maker)
        while True:
            with suppress(ConnectionError, OSError, TimeoutError):
                await page.connect(port)
            done["came"] += 1
            if page.refused:
                done["fetched again"] += 1
                break
            await asyncio.sleep(random.expovariate(1 / 5))
            what = random.choice(["drop", "drop", "stall", "abandon"])
            done[what] += 1
            if what == "stall":
                await page.stall(random.uniform(1, 10))
            page.drop()
            if what == "abandon":
                break
            await asyncio.sleep(random.uniform(0, 5))
        page.drop()


def keep(folder: Path, results: dict[str, object]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(results) + "\n")
    samples, every = results["MiB"], results["every_s"]
    assert isinstance(samples, list)
    assert isinstance(every, (int, float))
    try:
        with plots.picture(folder / "soak.svg", height=3) as axes:
            axes.plot([n * every / 60 for n in range(len(samples))], samples, color=plots.OURS)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("minutes")
            axes.set_ylabel("MiB")
    except ImportError:
        print("No picture: matplotlib is not installed (dependency group bench)", file=sys.stderr)


if __name__ == "__main__":
    main()
