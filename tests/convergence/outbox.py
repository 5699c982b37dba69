"""One seed with a database that tells its changes itself: triggers, and ``snorky relay``."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from tests.convergence.application import AWAY, Backend, Refused
from tests.convergence.client import Page
from tests.convergence.databases import Database, read, write
from tests.convergence.history import view_of
from tests.convergence.lists import Fetched, ListView
from tests.convergence.run import OPTIONS, QUERIES, SECONDS_TO_SETTLE, Outcome, Server
from tests.convergence.told import Told
from tests.patience import patient
from tests.servers import Postgres

MODES = ("sqlite", "postgresql")
LEASE = patient(0.6)
SECONDS_OF_WRITES = patient(4)
ROOT = Path(__file__).parent.parent.parent


class RecordedServer(Server):
    """One that writes down its log."""

    def __init__(self, record: Path, sources: Any) -> None:
        options = {**OPTIONS, "relay": sources, "lease": LEASE, "log_bytes": 4_000_000}
        super().__init__(options, "")
        self._env["CONVERGENCE_RECORD"] = str(record)

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "snorky", "serve", "tests/convergence/recorded.py"),
                *("--log-level", "error", "--port", str(self.port)),
                *("--backend-port", str(self.backend_port)),
            ],
            env=self._env,
            cwd=ROOT,
        )


class Relay:
    """``snorky relay`` in a process; with a breakage, by way of the module that breaks it."""

    def __init__(self, url: str, backend_url: str, breakage: str) -> None:
        program = ["tests.convergence.broken_relay", breakage] if breakage else ["snorky"]
        self._command = [
            *(sys.executable, "-m", *program, "relay", url),
            *("--backend-url", backend_url, "--lease", str(LEASE), "--log-level", "error"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, "SNORKY_API_KEY": "swordfish"},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Run:
    """``sources``: which relays the service waits for."""

    sources: Any = True
    number_of_pages = 3
    keys_of_a_model = 12

    def __init__(
        self,
        outcome: Outcome,
        database: Database,
        folder: str,
        postgres: Postgres | None,
        breakage: str = "",
    ) -> None:
        self.outcome = outcome
        self.chance = random.Random(f"{outcome.seed} {outcome.mode}")
        self.database = database
        self.breakage = breakage
        self._postgres = postgres
        self._record = Path(folder) / "record"
        self.server = RecordedServer(self._record, self.sources)
        self._backend_url = f"http://127.0.0.1:{self.server.backend_port}/backend"
        self.backend = Backend(self._backend_url)
        self.relay = self._new_relay()
        self.pages = [self._page(number) for number in range(self.number_of_pages)]

    def _new_relay(self) -> Relay:
        return Relay(self.database.url, self._backend_url, self.breakage)

    def _page(self, number: int) -> Page:
        views = [
            ListView(self.chance.choice(["Task", "Note"]), self.chance.choice(QUERIES), "ann")
            for _ in range(self.chance.randint(1, 4) + 3 * number)
        ]
        url = f"ws://127.0.0.1:{self.server.port}/ws"
        chance = random.Random(self.chance.random())
        return Page(url, views, self._fetch, lambda _: None, chance)

    async def _fetch(self, each: ListView) -> Fetched:
        """What a view does: place, token, snapshot."""
        try:
            after = await self.backend.call("head")
            items = [{"dealer": f"{each.model}s", "query": each.query}]
            token = await self.backend.call("authorizeSubscription", items=items, after=after)
            rows = await asyncio.to_thread(self._snapshot)
        except (*AWAY, Refused, *self.database.errors):
            return Fetched({}, None, 0)
        return Fetched(view_of(rows, each.model, each.query), token, 0)

    def _snapshot(self) -> Any:
        connection = self.database.connect()
        try:
            return read(self.database, connection)
        finally:
            connection.close()

    async def run(self) -> Outcome:
        self.server.start()
        self.relay.start()
        tasks = [asyncio.create_task(page.run()) for page in self.pages]
        try:
            await self._until_up()
            with self._unrelated():
                await self._trouble()
                await self._settle()
        finally:
            await asyncio.gather(*[page.stop() for page in self.pages])
            self.relay.kill()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self.server.kill()
            await self.backend.close()
        self.outcome.problems += [
            f"a page failed: {result!r}" for result in results if isinstance(result, Exception)
        ]
        connection = self.database.connect()
        known = self.database.committed(connection)
        connection.close()
        self.outcome.counts["transactions"] = len(known)
        self.told = Told(self._record, known)
        self.outcome.problems += self.told.problems(self._lists())
        self.outcome.counts.update(shown.why for each in self._lists() for shown in each.log)
        return self.outcome

    async def _until_up(self) -> None:
        async with asyncio.timeout(patient(20)):
            while True:
                with suppress(*AWAY):
                    await self.backend.call("head")
                    return
                await asyncio.sleep(0.03)

    @contextmanager
    def _unrelated(self) -> Iterator[None]:
        """A transaction that is open for the whole run."""
        connection = self.database.connect()
        self.database.begin(connection) if self._postgres else connection.execute("BEGIN")
        create = "CREATE TABLE unrelated (id integer)"
        connection.execute(create if self._postgres else 'SELECT * FROM "Task"')
        yield
        connection.close()

    # Faults

    async def _trouble(self) -> None:
        ends = monotonic() + SECONDS_OF_WRITES
        writers = [asyncio.create_task(self._write(ends, number)) for number in range(3)]
        faults = ["drop", "drop", "stall", "refresh", "relay", "suspend", "server"]
        if self._postgres is not None:
            faults.append("database")
        while monotonic() < ends:
            await asyncio.sleep(self.chance.uniform(0.1, 0.5))
            fault = self.chance.choice(faults)
            if self.breakage and fault in ("server", "database"):
                continue
            self.outcome.counts[fault] += 1
            await getattr(self, f"_{fault}")()
        await asyncio.gather(*writers)

    async def _write(self, ends: float, number: int) -> None:
        chance = random.Random(f"{self.outcome.seed} {number}")
        await asyncio.to_thread(self._write_again_and_again, ends, chance)

    def _write_again_and_again(self, ends: float, chance: random.Random) -> None:
        connection = self.database.connect()
        pause = Pause(chance)
        while monotonic() < ends:
            if getattr(connection, "closed", False):
                with suppress(*self.database.errors):
                    connection = self.database.connect()
            else:
                write(self.database, connection, chance, self.keys_of_a_model)
            pause()
        connection.close()

    async def _drop(self) -> None:
        self.chance.choice(self.pages).drop()

    async def _stall(self) -> None:
        page = self.chance.choice(self.pages)
        page.stalled.clear()
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        page.stalled.set()

    async def _refresh(self) -> None:
        with suppress(*AWAY, Refused):
            await self.backend.call("refreshSubscriptions", models=["Task"])

    async def _relay(self) -> None:
        self.relay.kill()
        await asyncio.sleep(self.chance.uniform(0, 0.3))
        self.relay.start()

    async def _suspend(self) -> None:
        """Suspended, and woken after another took over."""
        old, self.relay = self.relay, self._new_relay()
        old.signal(signal.SIGSTOP)
        self.relay.start()
        await asyncio.sleep(LEASE * 1.2 + self.chance.uniform(0.5, 1))
        old.signal(signal.SIGCONT)
        await asyncio.sleep(0.2)
        old.kill()

    async def _server(self) -> None:
        self.server.kill()
        self.server.start()
        await self._until_up()

    async def _database(self) -> None:
        assert self._postgres is not None
        await asyncio.to_thread(self._postgres.stop, abruptly=True)
        await asyncio.to_thread(self._postgres.start)

    # The end

    async def _settle(self) -> None:
        rows = await asyncio.to_thread(self._snapshot)
        ends = monotonic() + SECONDS_TO_SETTLE + LEASE + 2
        while monotonic() < ends and not all(self._is_right(each, rows) for each in self._lists()):
            await asyncio.sleep(0.05)
        self.outcome.problems += [
            f"in the end {each} ({each.status}) differs"
            for each in self._lists()
            if not self._is_right(each, rows)
        ]

    def _lists(self) -> list[ListView]:
        return [each for page in self.pages for each in page.lists]

    def _is_right(self, each: ListView, rows: Any) -> bool:
        return each.status == "live" and each.rows == view_of(rows, each.model, each.query)


class Pause:
    """Between transactions of a writer."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._never = threading.Event()

    def __call__(self) -> None:
        self._never.wait(self._chance.uniform(0, 0.06))
