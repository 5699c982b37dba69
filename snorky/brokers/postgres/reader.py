"""What a process reads: publications, logs and calls for passes, by one connection that sleeps.

While little comes it sleeps, and whoever writes wakes it. While much comes it stays awake and looks
every few milliseconds, so that the writers need not say anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from snorky.brokers import BrokerUnavailable, Deliver
from snorky.brokers.connecting import fail
from snorky.brokers.postgres.following import Asking, Following
from snorky.brokers.postgres.link import Link, Statement
from snorky.brokers.postgres.log import PostgresLog
from snorky.brokers.postgres.publications import Publications
from snorky.brokers.postgres.writer import AWAY

LOOK_EVERY = 2.0
"""Seconds after which a sleeper looks at everything, though nobody woke it."""

PAUSE = 0.004
"""Seconds between two looks of one who is awake."""

MUCH = 20
"""Rows of one look after which it is not worth going to sleep."""


FEW = 20
"""Logs. Who follows more always sleeps: looking at all is dear, and who wakes it says at which."""


class Reader:
    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._publications = Publications(schema)
        self._following = Following(schema)
        self._asking = Asking(schema)
        self._opening: list[tuple[PostgresLog, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._looked = monotonic()
        self.is_open = False

    # What is read

    def subscribe(self, topic: bytes, deliver: Deliver) -> asyncio.Future[None]:
        """Done when everything that was published before has been read."""
        answer = self._wait()
        if not answer.done():
            self._publications.add(answer, topic, deliver)
        return answer

    def unsubscribe(self, topic: bytes, deliver: Deliver) -> None:
        """Raises KeyError."""
        self._publications.remove(topic, deliver)

    def joining_to(self, topic: bytes) -> asyncio.Future[None] | None:
        """The newest subscription to a topic that is under way, if any."""
        return self._publications.joining_to(topic)

    def written(self, last: int, topics: list[bytes], answers: list[asyncio.Future[None]]) -> None:
        """Answer publications of this process: where they are received here, when they are read."""
        if self.is_open:
            self._publications.written(last, topics, answers)
        else:
            _refuse(answers)

    async def follow(self, log: PostgresLog) -> None:
        answer = self._wait()
        if not answer.done():
            self._opening.append((log, answer))
        await answer

    def leave(self, log: PostgresLog) -> None:
        self._following.leave(log)

    def asked(self, log: int, source: bytes, more_than: int) -> asyncio.Future[int]:
        """How often a pass was asked for, as soon as it is more than that."""
        answer = self._wait()
        if not answer.done():
            self._asking.add(answer, log, source, more_than)
        return answer

    def _wait(self) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.is_open:
            self._wake.set()
        else:
            fail(answer, BrokerUnavailable(AWAY))
        return answer

    @property
    def logs(self) -> tuple[PostgresLog, ...]:
        """Those that are followed."""
        return tuple(self._following.logs)

    @property
    def lag(self) -> float:
        """Seconds since this process saw all that there was, beyond what is usual."""
        since = monotonic() - self._looked
        return 0.0 if self.is_open and since < 2 * LOOK_EVERY else since

    # Reading

    async def begin(self, link: Link) -> None:
        """Go on where the last connection ended; the first one begins at the newest."""
        await link.run_script(f"LISTEN {self._schema}")
        await self._following.find_again(link)
        if not self._publications.has_begun:
            self._publications.take(await link.execute(*self._publications.statement()))
        self.is_open = True

    def begin_anew(self) -> None:
        """What was published before the next connection is nobody's."""
        self._publications.has_begun = False

    async def run(self, link: Link) -> None:
        """Read until the connection ends; raises why."""
        try:
            await self._run(link)
        finally:
            self.is_open = False
            _refuse(answer for _, answer in self._opening)
            self._opening.clear()
            _refuse(self._publications.give_up())
            _refuse(self._asking.give_up())

    async def _run(self, link: Link) -> None:
        asleep = False
        woken: set[str] | None = None
        while True:
            self._wake.clear()
            joining = self._publications.joining
            rows = await self._look_at(link, None if joining else woken)
            for topic, answer in joining:
                self._publications.join(topic, answer)
            await self._open_some(link)
            if asleep and rows > MUCH and len(self._following.logs) <= FEW:
                await self._sleepers(link, "unlock")
                asleep = False
            if asleep:
                woken = await link.wait(self._wake, LOOK_EVERY)
                continue
            woken = None
            if rows and len(self._following.logs) <= FEW:
                await asyncio.sleep(PAUSE)
            else:  # what comes before it sleeps is looked at once more
                await self._sleepers(link, "lock")
                asleep = True

    async def _open_some(self, link: Link) -> None:
        """Others need not wait until many logs have been opened."""
        for _ in range(min(FEW, len(self._opening))):
            log, answer = self._opening[0]
            await self._following.open(link, log)
            if not answer.done():
                answer.set_result(None)
            del self._opening[0]
        if self._opening:
            self._wake.set()

    async def _sleepers(self, link: Link, action: str) -> None:
        await link.execute(
            f"SELECT pg_advisory_{action}_shared(hashtext('snorky sleepers'), "
            f"'{self._schema}'::regnamespace::oid::int)"
        )

    async def _look_at(self, link: Link, woken: set[str] | None) -> int:
        """Look at what notifications told of; None: at everything."""
        if woken and monotonic() - self._looked < LOOK_EVERY:
            return await self._look(
                link,
                "p" in woken and self._publications.is_wanted,
                [log for log in self._following.logs if f"l{log.id}" in woken],
            )
        began = monotonic()
        link.heard()
        rows = await self._look(link, True, self.logs)
        self._looked = began
        return rows

    async def _look(self, link: Link, publications: bool, logs: Sequence[PostgresLog]) -> int:
        """Read these to their end; returns how many rows there were."""
        count = 0
        asked = bool(self._asking)
        while publications or logs or asked:
            promised = [log.promised for log in logs]
            statements: list[Statement] = []
            if publications:
                statements.append(self._publications.statement())
            if logs:
                statements.append(self._following.statement(logs))
            if asked:
                statements.append(self._asking.statement())
            results = iter(await link.execute_all(statements))
            if publications:
                rows = next(results)
                count += max(0, len(rows) - 1)
                publications = self._publications.take(rows)
            if logs:
                rows = next(results)
                count += len(rows) - len(logs)  # the head of each comes with it
                logs = await self._following.take(link, logs, rows, promised)
            if asked:
                self._asking.take(next(results))
                asked = False
        return count


def _refuse(answers: Any) -> None:
    for answer in answers:
        fail(answer, BrokerUnavailable(AWAY))
