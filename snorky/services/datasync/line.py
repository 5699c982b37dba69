"""What happens to a service's data, one after the other: entries, openings, revocations, marks.

Each job is an iterator; between its steps others get their turn. What is done within a slice is
done in the call itself, so that small programs are answered at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Generator, Iterator
from time import monotonic
from typing import Any

from snorky.log import snorky_log

SECONDS_PER_SLICE = 0.005


class Line:
    """The jobs of one service. A job that is under way may put others behind it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: deque[_Job] = deque()
        self._running = False
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def waits_since(self) -> float | None:
        """When the job under way was put here, by the monotonic clock; None: there is none."""
        return self._jobs[0].since if self._jobs else None

    def do(self, steps: Iterator[None]) -> Awaitable[None] | None:
        """Do a job after those before it. Returns None where it is done, else what waits for it.

        A job that raises is logged, and counts as done.
        """
        job = _Job(steps)
        self._jobs.append(job)
        self.advance()
        return None if job.done else job

    def put(self, steps: Iterator[None]) -> None:
        """The same for later: ``advance`` is called by whoever puts it."""
        self._jobs.append(_Job(steps))

    def advance(self) -> None:
        """Work for a slice, and again in the next turns of the loop while jobs are left."""
        if self._running:
            return  # called by a job: the loop below goes on with what it put here
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None  # no loop, and nobody who waits for his turn
        deadline = monotonic() + SECONDS_PER_SLICE
        self._running = True
        try:
            while self._jobs:
                if self._work(None if loop is None else deadline):
                    self._jobs.popleft().finish()
                elif loop is not None:
                    if not self._scheduled:
                        self._scheduled = True
                        loop.call_soon(self._go_on)
                    return
        finally:
            self._running = False

    def _go_on(self) -> None:
        self._scheduled = False
        self.advance()

    def _work(self, deadline: float | None) -> bool:
        """Work on the first job until the deadline; returns whether it is done."""
        try:
            for _ in self._jobs[0].steps:
                if deadline is not None and monotonic() > deadline:
                    return False
        except Exception:
            snorky_log.exception('Unhandled exception in the log of service "%s"', self._name)
        return True


class _Job:
    __slots__ = ("_waiting", "done", "since", "steps")

    def __init__(self, steps: Iterator[None]) -> None:
        self.steps = steps
        self.since = monotonic()
        self.done = False
        self._waiting: list[asyncio.Future[None]] = []

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is done. Who need not know may drop it: it is under way."""
        if not self.done:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            yield from future

    def finish(self) -> None:
        self.done = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
