"""One seed: writers, pages and faults at random, then quiet; what every list showed is judged.

python -m tests.convergence.run [--seeds 1-20] [--mode hand|relay|runs] [--breakage NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from tests.conftest import free_port
from tests.convergence.application import AWAY, Application, Backend
from tests.convergence.client import Page
from tests.convergence.history import place
from tests.convergence.judge import Revoked, problems
from tests.convergence.lists import ListView
from tests.convergence.relay import Relay
from tests.patience import patient

MODES = ("hand", "relay", "runs")
SECONDS_OF_WRITES = 2.5
SECONDS_TO_SETTLE = patient(12)
LEASE = patient(0.3)
QUERIES: list[Any] = [
    ["and"],
    ["==", "color", "red"],
    ["==", "color", "blue"],
    ["and", ["==", "team", "a"], ["<", "n", 2]],
    [">=", "n", 2],
]
SUBJECTS = ("ann", "bob", "eve")
OPTIONS = {
    "log_bytes": 60_000,
    "resume_ttl": 4.0,
    "item_ttl": 0.5,
    "lease": LEASE,
    "token_key": "a key that outlives the process",
}


@dataclass
class Outcome:
    seed: int
    mode: str
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        state = "; ".join(self.problems[:3]) or "holds"
        if len(self.problems) > 3:
            state += f"; {len(self.problems) - 3} more"
        return f"seed {self.seed} {self.mode}: {state} ({told})"


class Server:
    """``snorky serve`` in a process of its own, which may be killed and come back."""

    def __init__(self, options: dict[str, Any], breakage: str) -> None:
        self.port, self.backend_port = free_port(), free_port()
        self._env = {
            **os.environ,
            "SNORKY_API_KEY": "swordfish",
            "CONVERGENCE_OPTIONS": json.dumps(options),
            "CONVERGENCE_BREAKAGE": breakage,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def arguments(self) -> list[str]:
        """More of them."""
        return []

    def start(self) -> None:
        file = Path(__file__).parent / "live.py"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "snorky", "serve", str(file), "--log-level", "error"),
                *("--port", str(self.port), "--backend-port", str(self.backend_port)),
                *self.arguments,
            ],
            env=self._env,
            cwd=Path(__file__).parent.parent.parent,
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


class Run:
    number_of_pages = 4

    def __init__(self, seed: int, mode: str, breakage: str, folder: str) -> None:
        self.chance = random.Random(f"{seed} {mode}")
        self.outcome = Outcome(seed, mode)
        options = OPTIONS | ({} if mode == "hand" else {"relay": True})
        self.server = self.make_server(options, breakage)
        backend = Backend(f"http://127.0.0.1:{self.server.backend_port}/backend")
        self.application = Application(backend, f"{folder}/rows.sqlite", self.chance)
        self.application.breakage = breakage
        self.relays: list[Relay] = []
        if mode != "hand":
            self.application.outbox = []
            self.relays = [Relay(self.application, runs=mode == "runs")]
        self.between_relays = False
        self.revoked: list[Revoked] = []
        url = f"ws://127.0.0.1:{self.server.port}/ws"
        self.pages = [self._page(url, number) for number in range(self.number_of_pages)]
        for page in self.pages:
            page.one_since_for_all = breakage == "one since for all"

    def make_server(self, options: dict[str, Any], breakage: str) -> Server:
        return Server(options, breakage)

    def _page(self, url: str, number: int) -> Page:
        lists = 34 if number == 0 else self.chance.randint(1, 3)
        views = [
            ListView(
                self.chance.choice(["Task", "Note"]),
                self.chance.choice(QUERIES),
                self.chance.choice(SUBJECTS),
                refetches=each == 0 and number in (1, 2),
            )
            for each in range(lists)
        ]
        application = self.application
        return Page(url, views, application.fetch, application.history.told_by, self.chance)

    async def run(self) -> Outcome:
        self.server.start()
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._until_up()
            for relay in self.relays:
                relay.start()
            tasks += [asyncio.create_task(page.run()) for page in self.pages]
            await self._trouble()
            if not (self.application.breakage and self._has_lied()):
                await self._settle()
        finally:
            await asyncio.gather(*[page.stop() for page in self.pages])
            for relay in self.relays:
                await relay.kill()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self.server.kill()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, asyncio.CancelledError):
                self.outcome.problems.insert(0, f"a page failed: {result!r}")
        await self.application.close()
        self.outcome.counts["transactions"] = self.application.history.last
        for each in self._lists():
            self.outcome.counts.update(shown.why for shown in each.log)
        self.outcome.problems += problems(self.application.history, self._lists(), self.revoked)
        return self.outcome

    async def _until_up(self) -> None:
        accepted = self.application.accepted  # what came before the first entry of its log
        async with asyncio.timeout(patient(20)):
            while True:
                try:
                    epoch, _ = place(await self.application.backend.call("head"))
                except AWAY:
                    await asyncio.sleep(0.03)
                else:
                    self.application.history.begun(epoch, accepted)
                    return

    # Faults

    async def _trouble(self) -> None:
        chance, ends = self.chance, monotonic() + SECONDS_OF_WRITES
        kill_at = 0.0
        if not self.application.breakage and chance.random() < 0.5:
            kill_at = monotonic() + chance.uniform(0.5, SECONDS_OF_WRITES)
        writers = [asyncio.create_task(self._write(ends)) for _ in range(3)]
        faults: list[asyncio.Task[None]] = []
        while monotonic() < ends:
            await asyncio.sleep(chance.uniform(0.02, 0.15))
            if kill_at and monotonic() > kill_at:
                kill_at = 0
                await self._restart()
            of_relays = 1 if not self.application.breakage else 4
            faults_of_pages = ["drop", "drop", "drop", "stall", "revoke", "refresh"] * 2
            fault = chance.choice([*faults_of_pages, *[self.relay_fault] * of_relays])
            faults.append(asyncio.create_task(getattr(self, f"_{fault}")()))
            if fault != "none":
                self.outcome.counts[fault] += 1
        await asyncio.gather(*writers)
        await asyncio.gather(*faults)

    async def _write(self, ends: float) -> None:
        while monotonic() < ends:
            await self.application.write()
            await asyncio.sleep(self.chance.uniform(0, 0.03 if not self.relays else 0.2))

    async def _restart(self) -> None:
        self.outcome.counts["restart"] += 1
        self.server.kill()
        self.server.start()
        await self._until_up()

    @property
    def relay_fault(self) -> str:
        return {"hand": "none", "relay": "relay", "runs": "suspend"}[self.outcome.mode]

    async def _none(self) -> None: ...

    async def _drop(self) -> None:
        page = self.chance.choice(self.pages)
        if self.application.breakage == "one since for all":
            page = self.pages[0]  # which needs two calls to come back
        page.drop()

    async def _stall(self) -> None:
        page = self.chance.choice(self.pages)
        page.stalled.clear()
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        page.stalled.set()

    async def _revoke(self) -> None:
        subject = self.chance.choice(SUBJECTS)
        if not self.application.allowed.get(subject, True):
            return
        since = await self.application.revoke(subject)
        began = monotonic()
        await asyncio.sleep(0.3)
        self.revoked.append(Revoked(subject, since, began, monotonic()))
        self.application.allowed[subject] = True
        for page in self.pages:
            for each in page.lists:
                if each.status == "closed":
                    each.status = "loading"
                    page.fetch_again(each)

    async def _refresh(self) -> None:
        await self.application.refresh()

    async def _relay(self) -> None:
        """Killed, perhaps in the middle of a step, and started again."""
        if not self.between_relays:
            self.between_relays = True
            await self.relays[0].kill()
            await asyncio.sleep(self.chance.uniform(0, 0.3))
            self.relays[0].start()
            self.between_relays = False

    async def _suspend(self) -> None:
        """Suspended, and woken after another took over."""
        if len(self.relays) != 1:
            return
        (old,) = self.relays
        new = Relay(self.application, runs=old.runs)
        self.relays.append(new)
        old.awake.clear()
        new.start()
        await asyncio.sleep(LEASE)
        ends = monotonic() + LEASE * 3
        while new.taken <= old.taken and monotonic() < ends:  # what both would append
            await self.application.write()
            await asyncio.sleep(0.05)
        old.awake.set()
        ends, taken = monotonic() + LEASE * 2, old.taken
        while old.taken == taken and monotonic() < ends:
            await asyncio.sleep(0.02)
        await old.kill()
        self.relays.remove(old)

    # Judging

    async def _settle(self) -> None:
        """When writes pause, every view equals the query within seconds."""
        self.application.allowed.clear()
        for _ in range(4):
            await self.application.write(statements=20)
            if await self._was_fetched():
                break
        await self.application.write(statements=20)  # the last touch, right after another
        await self.application.settle()
        for page in self.pages:
            for each in page.lists:
                if each.status == "closed":
                    each.status = "loading"
                    page.fetch_again(each)
        ends = monotonic() + SECONDS_TO_SETTLE
        while monotonic() < ends and not await self._stay_right():
            await asyncio.sleep(0.05)
        for number, page in enumerate(self.pages):
            for each in page.lists:
                if not self._is_right(each):
                    self.outcome.problems.append(
                        f"in the end {each} of page {number} at {page.position} differs"
                    )

    def _has_lied(self) -> bool:
        found = problems(self.application.history, self._lists(), self.revoked)
        return next(found, None) is not None

    async def _stay_right(self) -> bool:
        """Whether all lists are right now and a moment later: one may have been before, too, by
        chance, and be told of what came in between."""
        for _ in range(3):
            if not all(map(self._is_right, self._lists())):
                return False
            await asyncio.sleep(0.05)
        return True

    async def _was_fetched(self) -> bool:
        """Whether all that are live by fetching have answered the last touch, in a second or so."""
        ends = monotonic() + 1.5
        refetching = [each for each in self._lists() if each.refetches]
        while not all(map(self._is_right, refetching)):
            if monotonic() > ends:
                return False
            await asyncio.sleep(0.02)
        return True

    def _lists(self) -> list[ListView]:
        return [each for page in self.pages for each in page.lists]

    def _is_right(self, each: ListView) -> bool:
        history = self.application.history
        right = history.view(history.last, each.model, each.query)
        return each.rows == right and (each.refetches or each.status == "live")


async def run_seed(seed: int, mode: str, breakage: str = "") -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return await Run(seed, mode, breakage, folder).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-5")
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--breakage", default="")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    failed = 0
    for seed in range(int(first), int(last or first) + 1):
        for mode in options.mode or MODES:
            outcome = asyncio.run(run_seed(seed, mode, options.breakage))
            print(outcome, flush=True)
            failed += bool(outcome.problems)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
