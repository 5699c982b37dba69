"""From a thousand pages to a million: how many processes, which limit comes next, and what then?

Nobody has a million pages on a desk, so this is a simulation. Its costs are those that the other
programs have measured and kept (calibration.py says where each comes from); it counts what each
process, the engine and the network have to do for three sites, finds how many processes carry
that, and plays a minute of it: publications that wait for each other, pages that come back at once.

news    everybody hears one publication a second
rooms   of 50 pages; each page says something once a minute
lists   three live lists for each page; each page changes a row every five minutes, ten others show

It measures nothing and takes some seconds; the same results in give the same figures out.

python benchmarks/scaling.py [--sizes 1000 1000000] [--results DIRECTORY] [--keep]
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from random import Random

from calibration import COSTS, calibrated
from harness import HERE
from plots import OURS, THEIRS, picture
from report import number

# What a site has, unless it has something better.

BUSY = 0.5
"""Of the core of a process: the other half is for those who come back at once."""
ENGINE_BUSY = 0.7
"""Of the one core on which Valkey runs commands."""
SOON = 0.25
"""Seconds in which the last page of a process is to have a publication."""
BACK = 10.0
"""Seconds of work that all pages of a process may be, when they come back at once."""
MACHINE_GB, MACHINE_CORES, MACHINE_GBIT = 64, 16, 10
PROXY_PORTS = 28_232
"""Connections from one address of a proxy to one port (net.ipv4.ip_local_port_range)."""
DESCRIPTORS = 524_288
"""Open files of a process, as systemd allows."""
LOG_MB = 64
WEB_REQUESTS = 2_000
"""A second, that the web application answers, where all lists are fetched again."""
REFETCH_SECONDS = 30
"""Over which the server spreads that (MAX_SPREAD_MS)."""
VISIT_SECONDS = 600
"""After which a page goes and another comes."""
FRAME_BYTES, HEADER_BYTES = 130, 66
BACKLOG = 1024
FIRST_DELAY, LONGEST_DELAY = 0.5, 20.0
"""Of the client's attempts to come back: anywhere below a bound that doubles."""
MOST_PROCESSES = 4_096

SIZES = (1_000, 10_000, 100_000, 1_000_000)
PAGE = HERE.parent / "docs" / "topics" / "scaling.md"
Costs = dict[str, float]


@dataclass(frozen=True)
class Site:
    name: str
    lists: int
    """Of each page. Changes go through a log then, which every process follows."""
    reached: int
    """Pages that get one publication; 0: all."""
    each: float
    """Publications a second of each page,"""
    beside: float = 0.0
    """and of others."""


SITES = (
    Site("news", 0, 0, 0, 1),
    Site("rooms", 0, 50, 1 / 60),
    Site("lists", 3, 10, 1 / 300),
)


@dataclass(frozen=True)
class Load:
    """What ``processes`` of a site with so many pages have to do. Seconds are of one core."""

    site: Site
    pages: float
    processes: int
    costs: Costs

    @property
    def here(self) -> float:
        """Pages of one process."""
        return self.pages / self.processes

    @property
    def published(self) -> float:
        return self.site.each * self.pages + self.site.beside

    @property
    def reached(self) -> float:
        return min(self.site.reached or self.pages, self.pages)

    @property
    def processes_reached(self) -> float:
        """By one publication; pages are anywhere."""
        if self.site.lists:
            return self.processes
        missed: float = (1 - 1 / self.processes) ** self.reached
        return self.processes * (1 - missed)

    @property
    def seen(self) -> float:
        """Publications a second that one process gets from the engine."""
        return self.published * self.processes_reached / self.processes

    @property
    def seconds_each(self) -> float:
        """What one process does for a publication that it gets."""
        cost, here = self.costs, self.reached / self.processes_reached
        if self.site.lists:
            deliver = here * (cost["frame"] + cost["deliver"])
            return (cost["follow"] + 2 * cost["match"] + deliver) / 1e6
        received = cost["receive"] if self.processes > 1 else 0.0
        return (received + here * cost["deliver"]) / 1e6

    @property
    def busy_beside(self) -> float:
        """With pages that come, go and are there, and with what is published here."""
        cost = self.costs
        come = cost["come_lists" if self.site.lists else "come"] / 1e6
        upkeep = self.here * (cost["idle"] / 3.6e6 + come / VISIT_SECONDS)
        made = cost["append" if self.site.lists else "publish"] if self.processes > 1 else 0.0
        return upkeep + self.published / self.processes * (cost["call"] + made) / 1e6

    @property
    def busy(self) -> float:
        return self.busy_beside + self.seen * self.seconds_each

    @property
    def megabytes(self) -> float:
        cost = self.costs
        each = cost["kb"] + cost["kernel_kb"] + self.site.lists * cost["list_kb"]
        return cost["process_mb"] + (LOG_MB if self.site.lists else 0) + self.here * each / 1024

    @property
    def engine(self) -> float:
        if self.processes == 1:
            return 0.0
        cost = self.costs
        first = cost["engine_log" if self.site.lists else "engine"]
        each = first + cost["engine_more"] * (self.processes_reached - 1)
        return self.published * each / 1e6

    @property
    def gbit(self) -> float:
        """To the pages, of all machines."""
        return self.published * self.reached * (FRAME_BYTES + HEADER_BYTES) * 8 / 1e9

    @property
    def engine_gbit(self) -> float:
        if self.processes == 1:
            return 0.0
        return self.published * self.processes_reached * (FRAME_BYTES + HEADER_BYTES) * 8 / 1e9

    @property
    def refetches(self) -> float:
        """Requests a second to the web application, where the engine has lost its log."""
        return self.pages * self.site.lists / REFETCH_SECONDS

    @property
    def needs(self) -> dict[str, float]:
        """What more processes help with, each as a share of what a process has."""
        come = self.costs["come_lists" if self.site.lists else "come"] / 1e6
        return {
            "CPU": self.busy / BUSY,
            "the last page": self.seconds_each / SOON,
            "coming back": self.here * come / BACK,
            "memory": self.megabytes / (MACHINE_GB / MACHINE_CORES * 1024 * 0.8),
            "open files": self.here / DESCRIPTORS,
        }

    def fits(self) -> bool:
        return max(self.needs.values()) <= 1


def fewest(site: Site, pages: float, costs: Costs) -> Load | None:
    """The fewest processes that carry it; None where no number does."""
    low, high = 0, 1
    while not Load(site, pages, high, costs).fits():
        low, high = high, high * 2
        if high > MOST_PROCESSES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if Load(site, pages, middle, costs).fits() else (middle, high)
    return Load(site, pages, high, costs)


@dataclass(frozen=True)
class Plan:
    """``logs`` groups of processes, each with pages, a log and an engine of its own."""

    load: Load
    logs: int

    @property
    def processes(self) -> int:
        return self.load.processes * self.logs

    @property
    def engines(self) -> int:
        """Nodes of Valkey."""
        return self.logs * math.ceil(self.load.engine / ENGINE_BUSY)


def plan(site: Site, pages: int, costs: Costs) -> Plan:
    """With as few logs as carry it. Channels need one engine, however many nodes that has."""
    for logs in range(1, 1_000):
        load = fewest(site, pages / logs, costs)
        if load is not None and (not site.lists or load.engine <= ENGINE_BUSY):
            return Plan(load, logs)
    raise ValueError(f"no number of logs carries {pages:,} pages of {site.name}")


# Limits that more processes do not lift

LIMITS: dict[str, Callable[[Load], float]] = {
    "one process": lambda load: float(load.processes > 1),
    "the engine's core": lambda load: load.engine / ENGINE_BUSY,
    "PostgreSQL instead": lambda load: (
        (load.processes > 1)
        * load.published
        / load.costs["postgresql_log" if load.site.lists else "postgresql"]
        / ENGINE_BUSY
    ),
    "the engine's network": lambda load: load.engine_gbit / MACHINE_GBIT,
    "following the log": lambda load: (
        load.published * (load.costs["follow"] + 2 * load.costs["match"]) / 1e6 / BUSY
        if load.site.lists
        else 0.0
    ),
    "lists fetched again": lambda load: load.refetches / WEB_REQUESTS,
    "ports of a proxy": lambda load: load.here / PROXY_PORTS,
}
MOST_PAGES = 100_000_000


def reached_at(limit: str, site: Site, costs: Costs) -> float:
    """The number of pages at which a limit is met; infinite where it is not on the way."""
    share = LIMITS[limit]

    def is_met(pages: float) -> bool:
        load = fewest(site, pages, costs)
        return load is None or share(load) >= 1

    def is_the_cause(pages: float) -> bool:
        load = fewest(site, pages * 0.99, costs)
        return load is not None and share(load) >= 0.9

    low, high = 1.0, float(MOST_PAGES)
    if not is_met(high):
        return math.inf
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if is_met(middle) else (middle, high)
    return high if limit == "one process" or is_the_cause(high) else math.inf


# Playing it


def lateness(load: Load, chance: Random, publications: int = 2_000) -> tuple[float, float]:
    """Seconds until the last page of a process has a publication: median and 99 of 100.

    They come at random and wait for each other; what else the process does slows all of them.
    """
    each = load.seconds_each / (1 - load.busy_beside)
    now = free = 0.0
    waits = []
    for _ in range(publications):
        now += chance.expovariate(load.seen)
        free = max(now, free) + each
        waits.append(free - now)
    waits.sort()
    return waits[publications // 2], waits[publications * 99 // 100]


def return_of(
    pages: float,
    cost: float,
    busy: float,
    chance: Random,
    *,
    delay: tuple[float, float] = (0.1, FIRST_DELAY),
) -> tuple[float, float]:
    """Seconds until half, and all, of the pages that a process lost are served again.

    ``cost``: seconds of a core for each. Some pages stand for many. Who finds the queue of the
    listening socket full is heard when TCP tries again: after 1, 2, 4 s.
    """
    many = max(1, math.ceil(pages / 5_000))
    each = cost * many / max(0.05, 1 - busy)
    arrivals: list[tuple[float, int]] = []
    for _ in range(math.ceil(pages / many)):
        heappush(arrivals, (chance.uniform(*delay), 0))
    free, served = 0.0, []
    while arrivals:
        now, tries = heappop(arrivals)
        if (free - now) / each * many > BACKLOG:
            heappush(arrivals, (now + 2**tries * chance.uniform(0.9, 1.1), min(tries + 1, 4)))
            continue
        free = max(free, now) + each
        served.append(free)
    return served[len(served) // 2], served[-1]


# Telling it


def tables(costs: Costs, sources: dict[str, str], sizes: Sequence[int]) -> str:
    lines = ["| what it costs | | from |", "|---|--:|---|"]
    for name, known in COSTS.items():
        unit, comma, rest = known.title.partition(", ")
        told = f"{number(costs[name])} {unit}" if comma else f"{costs[name]:,.0f}"
        lines.append(f"| {rest or known.title} | {told} | {sources[name]} |")
    lines += [
        "",
        "| site | pages | processes | because of | pages each | busy | MB each "
        "| last page, p50 / p99 ms | engines | of a core | Gbit/s to pages | logs |",
        f"|---|--:|--:|---|{'--:|' * 8}",
    ]
    lines += [_row(site, pages, costs) for site in SITES for pages in sizes]
    lines += ["", f"| limit met at pages | {' | '.join(site.name for site in SITES)} |"]
    lines += [f"|---|{'--:|' * len(SITES)}"]
    for limit in LIMITS:
        met = [_rounded(reached_at(limit, site, costs)) for site in SITES]
        lines.append(f"| {limit} | {' | '.join(met)} |")
    lines += ["", "| all come back, half / last after s | one process of them | all at once |"]
    lines += ["|---|--:|--:|"]
    for site in SITES:
        for pages in sizes:
            lines.append(_return_row(site, pages, costs))
    return "\n".join(lines)


def _row(site: Site, pages: int, costs: Costs) -> str:
    found = plan(site, pages, costs)
    load = found.load
    half, most = lateness(load, Random(f"{site.name} {pages}"))
    cells = [
        f"{found.processes:,}",
        "" if found.processes == 1 else max(load.needs, key=load.needs.__getitem__),
        f"{load.here:,.0f}",
        f"{load.busy:.0%}",
        f"{load.megabytes:,.0f}",
        f"{half * 1e3:,.1f} / {most * 1e3:,.1f}",
        str(found.engines),
        number(load.engine * found.logs),
        number(load.gbit * found.logs),
        str(found.logs) if site.lists else "",
    ]
    return f"| {site.name} | {pages:,} | {' | '.join(cells)} |"


def _return_row(site: Site, pages: int, costs: Costs) -> str:
    load = plan(site, pages, costs).load
    cost = costs["come_lists" if site.lists else "come"] / 1e6
    chance = Random(f"{site.name} {pages} back")
    others = load.processes - 1
    one = return_of(load.here / max(1, others), cost, load.busy if others else 0.0, chance)
    every = return_of(load.here, cost, 0.0, chance)
    told = [f"{half:.1f} / {last:.1f}" for half, last in (one, every)]
    return f"| {site.name}, {pages:,} | {' | '.join(told)} |"


def _rounded(pages: float) -> str:
    """Two digits: a simulation knows no more."""
    if math.isinf(pages):
        return "-"
    return f"{float(f'{pages:.2g}'):,.0f}"


def draw(costs: Costs, sizes: Sequence[int], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    with picture(path, height=3.2) as axes:
        for site in SITES:
            plans = [plan(site, pages, costs) for pages in sizes]
            for style, colour, counts in (
                ("-", OURS, [each.processes for each in plans]),
                ("--", THEIRS, [max(1, each.engines) for each in plans]),
            ):
                axes.plot(sizes, counts, style, marker="o", color=colour)
                axes.annotate(f"  {site.name}", (sizes[-1], counts[-1]), va="center", fontsize=8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.margins(x=0.12)
        axes.set_xlabel("pages")
        axes.set_ylabel("processes (green), nodes of the engine (grey)")


# The program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=list(SIZES), metavar="PAGES")
    add("--results", type=Path, default=HERE / "results", help="what was measured, and kept")
    add("--keep", action="store_true", help="in results/scaling.md, its picture, and the manual")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse(sys.argv[1:])
    found = calibrated(options.results)
    costs = {name: each.value for name, each in found.items()}
    text = tables(costs, {name: each.source for name, each in found.items()}, options.sizes)
    print(text)
    if options.keep:
        results = HERE / "results"
        draw(costs, options.sizes, results / "scaling.svg")
        shown = "![Processes and engines for more and more pages](scaling.svg)"
        (results / "scaling.md").write_text(f"# scaling\n\n{text}\n\n{shown}\n")
        (results / "scaling.json").write_text(json.dumps({"costs": costs}, indent=1) + "\n")
        PAGE.write_text(with_tables(PAGE.read_text(), text))


def with_tables(page: str, text: str) -> str:
    """The manual's page with these tables, each in the place of the one that begins as it does."""
    for table in text.split("\n\n"):
        head = re.escape(table.split("\n", 1)[0])
        found = re.findall(rf"(?m)^{head}\n(?:\|.*\n)*", page)
        if len(found) != 1:
            raise ValueError(f"expected one table {head} in {PAGE.name}, got {len(found)}")
        page = page.replace(found[0], table + "\n")
    return page


if __name__ == "__main__":
    main()
