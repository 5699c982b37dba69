"""How long until all is well again, after each kind of kill? Three processes, an engine, pages.

Each fault is made --rounds times. The time counts from when the fault ends (a process was killed,
or woken; the engine runs, or is reached again) until a row that is written then is shown by every
page, and every list says that it is live. Nothing may be lost: what pages show is judged as in
every run of the cluster.

killed      a process; it stays away, its pages go to the others
suspended   a process, for 5 s
restarted   the engine, killed without a word, with its data
emptied     the engine, without its data
cut off     a process from the engine, for 5 s; its pages stay

python -m tests.convergence.recovery [--engine postgresql|valkey] [--fault NAME] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg

from tests.convergence.client import Page
from tests.convergence.cluster import ENGINES, STARTED, Cluster, ClusterRun, Engine
from tests.convergence.lists import ListView
from tests.convergence.run import QUERIES
from tests.patience import patient
from tests.ports import free_port
from tests.servers import Valkey

PAGES = 12
AWAY_SECONDS = 5.0
SECONDS_TO_RECOVER = patient(60)
FAULTS = ("killed", "suspended", "restarted", "emptied", "cut off")


class Recovery(ClusterRun):
    """A run whose trouble is one fault. ``seconds``: how long it took to be well again."""

    def __init__(self, fault: str, seed: int, folder: str, engine: Engine, url: str) -> None:
        super().__init__(seed, "hand", folder, engine, url)
        self._fault = fault
        self.seconds = 0.0
        address = f"ws://127.0.0.1:{self.server.port}/ws"
        told = self.application.history.told_by
        self.pages = [
            Page(address, views(number), self.application.fetch, told, self.chance)
            for number in range(PAGES)
        ]

    def make_server(self, options: dict[str, Any], breakage: str) -> Any:
        return Cluster({"token_key": options["token_key"]}, self._url)  # as it is by default

    async def _trouble(self) -> None:
        await self.application.write()
        await self._well()
        await getattr(self, f"_{self._fault.replace(' ', '_')}")()
        began = monotonic()
        await self.application.write()
        await self.application.settle()
        await self._well()
        self.seconds = monotonic() - began

    async def _well(self) -> None:
        async with asyncio.timeout(SECONDS_TO_RECOVER):
            while not all(map(self._is_right, self._lists())):
                await asyncio.sleep(0.005)

    async def _killed(self) -> None:
        self.server.processes[0].kill()

    async def _suspended(self) -> None:
        process = self.server.processes[0]
        process.suspend()
        await self._writers_go_on()
        process.wake()

    async def _restarted(self) -> None:
        await asyncio.to_thread(self._engine.stop, abruptly=True)
        await asyncio.to_thread(self._engine.start)

    async def _emptied(self) -> None:
        accepted = self.application.accepted
        if isinstance(self._engine, Valkey):
            await self._restarted()
        else:
            with psycopg.connect(self._url, autocommit=True) as connection:
                connection.execute("DROP SCHEMA snorky CASCADE")
        self._noting = asyncio.create_task(self._note_new_epoch(accepted))

    async def _note_new_epoch(self, accepted: int) -> None:
        history = self.application.history
        while history.knows(epoch := await self._epoch()):
            await asyncio.sleep(0.05)
        history.begun(epoch, accepted)

    async def _cut_off(self) -> None:
        network = self.server.processes[0].network
        network.hold()
        await self._writers_go_on()
        network.cut()
        network.go_on()

    async def _writers_go_on(self) -> None:
        """As well as they can."""
        ends = monotonic() + AWAY_SECONDS
        while monotonic() < ends:
            await self.application.write()
            await asyncio.sleep(0.1)


def views(number: int) -> list[ListView]:
    queries = QUERIES[number % len(QUERIES)], QUERIES[(number + 1) % len(QUERIES)]
    return [ListView("Task", query, "ann") for query in queries]


@contextmanager
def kept_valkey() -> Iterator[tuple[Engine, str]]:
    """One that has its data after it was killed."""
    server = Valkey(free_port(), appendonly="yes", appendfsync="always")
    server.start()
    try:
        yield server, server.url
    finally:
        server.stop(abruptly=True)


def measure(name: str, fault: str, seed: int) -> Recovery:
    started = kept_valkey if (name, fault) == ("valkey", "restarted") else STARTED[name]
    with started() as (engine, url), tempfile.TemporaryDirectory() as folder:

        async def run() -> Recovery:
            recovery = Recovery(fault, seed, folder, engine, url)
            await recovery.run()
            return recovery

        return asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--fault", choices=FAULTS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    failed = 0
    print("| engine | fault | well again after s, median (range) |\n|---|---|--:|", flush=True)
    for name in options.engine or ENGINES:
        for fault in options.fault or FAULTS:
            done = [measure(name, fault, seed) for seed in range(options.rounds)]
            times = [each.seconds for each in done]
            spread = f"{statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f})"
            problems = [problem for each in done for problem in each.outcome.problems]
            print(f"| {name} | {fault} | {spread} |", *problems, flush=True)
            failed += len(problems)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
