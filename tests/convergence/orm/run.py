"""One seed with an application whose ORM writes the outbox, in several processes that drain it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import httpx2

from tests.convergence.history import view_of
from tests.convergence.lists import Fetched, ListView
from tests.convergence.orm.database import OrmPostgresql, OrmSqlite
from tests.convergence.outbox import LEASE, ROOT, Run
from tests.convergence.run import Outcome
from tests.patience import patient
from tests.ports import HOST, free_port

ORMS = ("django", "sqlalchemy")
PROCESSES = 3


class Worker:
    """A process of the application, on a port of its own."""

    def __init__(
        self, orm: str, database_url: str, backend_url: str, chance: random.Random
    ) -> None:
        self.port = free_port()
        self._arguments = [orm, database_url, backend_url, str(self.port), str(LEASE)]
        self._chance = chance
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        seed = str(self._chance.getrandbits(32))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.convergence.orm.worker", *self._arguments, seed],
            cwd=ROOT,
            env=os.environ,
        )

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Workers:
    """All processes of the application: what is started, and killed, in the place of a relay."""

    def __init__(
        self, orm: str, database_url: str, backend_url: str, chance: random.Random
    ) -> None:
        self.each = [Worker(orm, database_url, backend_url, chance) for _ in range(PROCESSES)]

    def start(self) -> None:
        for worker in self.each:
            worker.start()

    def kill(self) -> None:
        for worker in self.each:
            worker.kill()


class OrmRun(Run):
    """Writers are the workers' own; lists are what their views answer."""

    database: OrmSqlite | OrmPostgresql
    relay: Workers  # type: ignore[assignment]

    def __init__(self, outcome: Outcome, *arguments: Any) -> None:
        self._http = httpx2.AsyncClient(timeout=patient(5), trust_env=False)
        if outcome.seed % 4 < 2:
            self.sources = {"main": []}  # as the manual has it: no page waits for a pass
        super().__init__(outcome, *arguments)

    async def run(self) -> Outcome:
        async with self._http:
            return await super().run()

    def _new_relay(self) -> Workers:  # type: ignore[override]
        return Workers(self.outcome.mode, self.database.url, self._backend_url, self.chance)

    async def _fetch(self, each: ListView) -> Fetched:
        worker = self.chance.choice(self.relay.each)
        try:
            response = await self._http.get(
                f"http://{HOST}:{worker.port}/{each.model}",
                params={"filter": json.dumps(each.query)},
                headers={"X-Snorky": "Subscribe"},
            )
            response.raise_for_status()
            rows = {(each.model, row["id"]): row for row in response.json()}
        except httpx2.HTTPError:
            return Fetched({}, None, 0)
        token = response.headers.get("X-Subscription-Token")
        return Fetched(view_of(rows, each.model, each.query), token, 0)

    async def _write(self, ends: float, number: int) -> None:
        """They do by themselves."""

    async def _relay(self) -> None:
        worker = self.chance.choice(self.relay.each)
        worker.kill()
        await asyncio.sleep(self.chance.uniform(0, 0.3))
        worker.start()

    async def _suspend(self) -> None:
        """For longer than the others wait for the turn, or the lease lasts."""
        worker = self.chance.choice(self.relay.each)
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE * 1.2 + self.chance.uniform(0.5, 1))
        worker.signal(signal.SIGCONT)

    async def _settle(self) -> None:
        await self._answered("/stop")
        await super()._settle()

    async def _until_up(self) -> None:
        await super()._until_up()
        await self._answered("/up")

    async def _answered(self, path: str) -> None:
        """Wait until all of them have done so."""
        await asyncio.gather(*[self._answer(worker, path) for worker in self.relay.each])

    async def _answer(self, worker: Worker, path: str) -> None:
        async with asyncio.timeout(patient(40)):
            while True:
                with suppress(httpx2.HTTPError):
                    url = f"http://{HOST}:{worker.port}{path}"
                    response = await self._http.get(url, timeout=patient(30))
                    if response.status_code == 204:
                        return
                await asyncio.sleep(0.05)
