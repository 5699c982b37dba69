"""A scripted relay: it drains the outbox as relays do, late, in batches, killed and suspended."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.convergence.application import AWAY, Application, Refused
from tests.convergence.history import MOST_IN_AN_ENTRY

KEPT = 60
"""Transactions that are kept for a relay that begins anew: older ones are trimmed."""


class Killed(Exception):
    """In the middle of a step."""


class Relay:
    """``runs``: entries of several whole transactions, with a place in the log, as for SQLite;
    else one transaction each, taken out of the outbox when it was appended."""

    def __init__(self, application: Application, *, runs: bool) -> None:
        self.application = application
        self.runs = runs
        self.awake = asyncio.Event()
        self.awake.set()
        self.taken = 0
        self._fence = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except (Refused, Killed, *AWAY):
                await asyncio.sleep(0.05)

    async def _serve(self) -> None:
        lease = await self.application.backend.call("takeLease", source="main")
        self._fence = lease["fence"]
        place = lease["place"]
        if self.runs:
            self.taken = await self._begin(place)
        while True:
            asked = await self._call("awaitPass", timeout=0.05)
            if self.runs:  # the longer it is, the more transactions are one entry
                swallows = self.application.breakage == "rows between swallowed"
                await asyncio.sleep(self.application.chance.random() * (0.3 if swallows else 0.1))
            await self._drain()
            await self._call("passEnded", asked=asked)

    async def _begin(self, place: Any) -> int:
        if place is not None:
            return int(place)
        outbox = self._outbox
        first = max(0, len(outbox) - KEPT)
        if first:
            deltas = [{"type": "reset", "model": model} for model in ("Task", "Note")]
            entry = {"key": f"reset {self.application.chance.getrandbits(64):x}", "deltas": deltas}
            (position,) = await self._call("appendEntries", entries=[entry], place=first)
            self.application.history.accepted(position, first + 1, first)
        return first

    @property
    def _outbox(self) -> list[tuple[str, list[Any]]]:
        assert self.application.outbox is not None
        return self.application.outbox

    async def _drain(self) -> None:
        chance = self.application.chance
        visible = len(self._outbox)
        while self.taken < visible:
            await self.awake.wait()
            step: list[tuple[int, int, dict[str, Any]]] = []
            ends, most = self.taken, chance.randint(1, 6)
            while ends < visible and len(step) < most:
                size = min(chance.randint(1, MOST_IN_AN_ENTRY) if self.runs else 1, visible - ends)
                step.append((ends + 1, ends + size, self._entry(ends, ends + size)))
                ends += size
            if self.application.breakage == "rule 4":
                step.reverse()
            await asyncio.sleep(chance.random() * 0.02)  # suspended here: it wakes with old entries
            more = {"place": ends} if self.runs else {}
            positions = await self._call(
                "appendEntries", entries=[entry for _, _, entry in step], **more
            )
            for position, (first, last, _) in zip(positions, step, strict=True):
                self.application.history.accepted(position, first, last)
            if not self.runs and chance.random() < 0.2:
                raise Killed  # appended, and not taken out
            self.taken = ends
            if not self.runs:
                self.application.accepted = ends

    def _entry(self, first: int, end: int) -> dict[str, Any]:
        some = self._outbox[first:end]
        return {
            "key": some[0][0] if len(some) == 1 else f"{some[0][0]} {some[-1][0]}",
            "keys": [key for key, _ in some],
            "deltas": [delta for _, deltas in some for delta in deltas],
        }

    async def _call(self, command: str, **params: Any) -> Any:
        await self.awake.wait()
        return await self.application.backend.call(
            command, source="main", fence=self._fence, **params
        )
