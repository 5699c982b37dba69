"""One seed of windows in the built client, over each way in which changes come, with faults.

python -m tests.convergence.windowed [--seeds 1-100] [--over hand relay runs sqlite postgresql
                                      valkey-hand valkey-relay postgresql-hand postgresql-relay]

``hand``, ``relay`` and ``runs`` are `tests.convergence.run`'s, ``sqlite`` and ``postgresql`` have
triggers and ``snorky relay``, the others are three processes that an engine joins.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

from tests.convergence import outbox
from tests.convergence.cluster import STARTED, ClusterRun, Engine
from tests.convergence.databases import Postgresql, Sqlite, write
from tests.convergence.lists import ListView
from tests.convergence.run import MODES, QUERIES, Outcome, Run
from tests.convergence.windows import Window, WindowPage, problems, some_windows
from tests.patience import patient
from tests.servers import Postgres, run_postgres

KEYS = 40
"""Rows of a model: more than windows show."""

ENOUGH = 200
"""Renderings: on a machine that is busy it takes longer until there are as many."""

CLUSTERS = ("valkey-hand", "valkey-relay", "postgresql-hand", "postgresql-relay")
WAYS = (*MODES, *outbox.MODES, *CLUSTERS)


class PagesWithWindows:
    """What a run with windows does otherwise."""

    chance: random.Random
    outcome: Outcome
    pages: list[Any]
    number_of_pages = 2

    async def _fill(self) -> None:
        """The tables."""
        raise NotImplementedError

    async def _trouble(self) -> None:
        await self._fill()
        ends = monotonic() + patient(20)
        while monotonic() < ends and not all(each.status == "live" for each in self.windows()):
            await asyncio.sleep(0.02)
        ends = monotonic() + patient(20)
        while self.renderings < ENOUGH and monotonic() < ends:
            await super()._trouble()  # type: ignore[misc]  # of the run that this is mixed into

    @property
    def renderings(self) -> int:
        return sum(len(each.shown) for each in self.windows())

    def one_of_them(self) -> WindowPage:
        page: WindowPage = self.chance.choice(self.pages)
        return page

    async def _stall(self) -> None:
        page = self.one_of_them()
        page.tell("stall")
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        page.tell("go")

    async def _look(self) -> None:
        page = self.one_of_them()
        if self.chance.random() < 0.8:
            page.more()
        else:
            page.refetch()

    def windows(self) -> list[Window]:
        return [each for page in self.pages for each in page.lists]

    def tell_counts(self) -> None:
        for page in self.pages:
            self.outcome.counts.update(page.counts)
            self.outcome.problems += page.errors
        self.outcome.counts["renderings"] = self.renderings


class WindowRun(PagesWithWindows, Run):
    def __init__(self, seed: int, mode: str, breakage: str, folder: str) -> None:
        super().__init__(seed, mode, breakage, folder)
        self.application.keys, self.application.numbers = KEYS, 9

    def _page(self, url: str, number: int) -> Any:
        chance = random.Random(self.chance.random())
        return WindowPage(url, some_windows(chance, QUERIES), self.application.fetch, chance)

    async def _fill(self) -> None:
        for _ in range(4):
            await self.application.write(statements=30)

    async def _revoke(self) -> None:
        await self._look()  # others see to what is revoked

    def _is_right(self, each: ListView) -> bool:
        assert isinstance(each, Window)
        return each.is_right(self.application.history.tables[-1])

    async def run(self) -> Outcome:
        outcome = await super().run()
        self.tell_counts()
        tables = self.application.history.tables
        outcome.problems += problems(self.windows(), tables)
        outcome.problems += [
            each.difference(tables[-1]) for each in self.windows() if not each.is_right(tables[-1])
        ]
        return outcome


class WindowClusterRun(WindowRun, ClusterRun):
    def __init__(self, seed: int, mode: str, folder: str, engine: Engine, url: str) -> None:
        ClusterRun.__init__(self, seed, mode, folder, engine, url)
        self.application.keys, self.application.numbers = KEYS, 9


class WindowOutboxRun(PagesWithWindows, outbox.Run):
    keys_of_a_model = KEYS

    def _page(self, number: int) -> Any:
        chance = random.Random(self.chance.random())
        url = f"ws://127.0.0.1:{self.server.port}/ws"
        return WindowPage(url, some_windows(chance, QUERIES), self._fetch, chance)

    async def _fill(self) -> None:
        await asyncio.to_thread(self._write_some)

    def _write_some(self) -> None:
        connection = self.database.connect()
        for _ in range(60):
            write(self.database, connection, self.chance, KEYS)
        connection.close()

    async def _refresh(self) -> None:
        await self._look()
        await super()._refresh()

    def _is_right(self, each: ListView, rows: Any) -> bool:
        assert isinstance(each, Window)
        return each.is_right(rows)

    async def run(self) -> Outcome:
        outcome = await super().run()
        self.tell_counts()
        # Transactions that do not meet commit in another order than the log's. So a page that
        # shows what a query gave may show what the log never says; one that is live does not.
        outcome.problems += problems(
            self.windows(), list(self.told.moments()), lambda shown: shown.status == "live"
        )
        return outcome


async def run_seed(seed: int, way: str, engine: Engine | None = None, url: str = "") -> Outcome:
    """``engine``: PostgreSQL or Valkey, where the way needs one, and its address."""
    with tempfile.TemporaryDirectory() as folder:
        if way in MODES:
            return await WindowRun(seed, way, "", folder).run()
        if way == "sqlite":
            database = Sqlite(Path(folder) / "app.sqlite")
            return await WindowOutboxRun(Outcome(seed, way), database, folder, None).run()
        assert engine is not None
        engine.start()
        if way == "postgresql":
            assert isinstance(engine, Postgres)
            with engine.database() as address:
                outcome = Outcome(seed, way)
                return await WindowOutboxRun(outcome, Postgresql(address), folder, engine).run()
        mode = way.partition("-")[2]
        return await WindowClusterRun(seed, mode, folder, engine, url).run()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="1-5")
    parser.add_argument("--over", choices=WAYS, nargs="+", default=list(WAYS))
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    failed = 0
    for seed in range(int(first), int(last or first) + 1):
        for way in options.over:
            with ExitStack() as started:
                engine, url = None, ""
                if way in CLUSTERS:
                    engine, url = started.enter_context(STARTED[way.partition("-")[0]]())
                elif way == "postgresql":
                    engine = started.enter_context(run_postgres())
                outcome = asyncio.run(run_seed(seed, way, engine, url))
            print(way, outcome, flush=True)
            for told in outcome.problems[3:]:
                print(f"  {told}", flush=True)
            failed += bool(outcome.problems)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
