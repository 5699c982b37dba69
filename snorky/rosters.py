"""What the processes of a service know of each other's clients: who is here, under which topic.

A roster is a table of each topic that several processes hold. Each process writes its own part and
has a copy of the others'. Changes travel on the topic itself, so they keep their order with what
else is said there; what got lost on the way is found out by the beats of ``Processes``, which tell
in turn of all rosters of a process, and is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from itertools import count, islice
from typing import Any

from snorky.brokers import Broker, BrokerUnavailable
from snorky.envelope import Envelope
from snorky.processes import Processes
from snorky.services.base import RPCError
from snorky.topics import Topic, awaited, forget

MAX_TOLD = 2000
"""Rosters of which one beat tells."""

MAX_ASKED = 100
"""Rosters of which a process that comes is asked at once; the beats will tell of the others."""

Changed = Callable[[str, str, Any, Any], None]
"""Called with the process, the key, the value before and after; None where there is none. They are
equal where the same was written again."""


class Roster:
    """One topic's table. ``own`` is what this process says, ``parts`` what all have heard."""

    def __init__(self, name: str, changed: Changed) -> None:
        self.name = name
        self.own: dict[str, Any] = {}
        self.version = 0
        self.parts: dict[str, _Part] = {}
        """By process; this one's own part changes when its change comes back from the broker."""
        self.changed = changed

    def replace(self, process: str, version: int, values: dict[str, Any]) -> None:
        """Take the whole part of a process, unless it is older than what is known."""
        part = self.parts.get(process) or _Part()
        if version < part.version:
            return
        before, part.values, part.version = part.values, values, version
        if values:
            self.parts[process] = part
        else:
            self.parts.pop(process, None)
        for key in [key for key in before if key not in values]:
            self.changed(process, key, before[key], None)
        for key, value in values.items():
            if before.get(key) != value:
                self.changed(process, key, before.get(key), value)

    def apply(self, process: str, after: int, version: int, changes: dict[str, Any]) -> bool:
        """Take changes that follow a version. False where that is not the one that is known."""
        part = self.parts.get(process) or _Part()
        if version <= part.version:
            return True
        if after == 0:  # the process had nothing before
            self.replace(process, version, {k: v for k, v in changes.items() if v is not None})
            return True
        if part.version != after:
            return False
        self.parts[process] = part
        part.version = version
        for key, value in changes.items():
            before = part.values.pop(key, None) if value is None else part.values.get(key)
            if value is not None:
                part.values[key] = value
            if before is not None or value is not None:
                self.changed(process, key, before, value)
        return True


class SharedTopic(Topic):
    """A topic with a roster: who joins it learns first what the others have."""

    __slots__ = ()

    def learn(self) -> Awaitable[None] | None:
        """Open the roster, and ask the others; None where there is nobody to ask."""

    def begin(self, broker: Broker) -> Awaitable[None] | None:
        subscribed = broker.subscribe(self.name, self.deliver)
        return self.learn() if subscribed is None else self._begin(subscribed)

    async def _begin(self, subscribed: Awaitable[None]) -> None:
        await subscribed
        learnt = self.learn()
        if learnt is not None:
            await learnt


class _Part:
    __slots__ = ("values", "version")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.version = 0


class Rosters:
    """All rosters of a service in this process. ``control`` marks what is for them on a topic."""

    def __init__(self, service: str, processes: Processes) -> None:
        self.control = f"{service}!roster"
        self.processes = processes
        self._rosters: dict[str, Roster] = {}
        self._by_digest: dict[str, Roster] = {}
        self._versions = count(1)
        self._newest = 0
        self._untold: list[Roster] = []
        self._part = 0
        self._cycle_version = 0
        self._cycles: dict[str, _Cycle] = {}
        processes.answers["roster"] = self._part_of
        processes.beat_news = self._tell
        processes.on_beat = self._told
        processes.on_new = self._came
        processes.on_gone = self._gone

    def __len__(self) -> int:
        return len(self._rosters)

    def open(self, name: str, changed: Changed) -> Roster:
        roster = Roster(name, changed)
        self._rosters[name] = self._by_digest[_digest(name)] = roster
        return roster

    def learn(self, roster: Roster) -> Awaitable[None] | None:
        """Ask the others what they have; None where there is nobody to ask."""
        return self._learn(roster) if self.processes.others else None

    async def _learn(self, roster: Roster) -> None:
        for answer in await awaited(self.processes.ask_all("roster", roster.name)):
            self._take(roster, answer)

    def close(self, roster: Roster) -> None:
        if self._rosters.get(roster.name) is roster:
            del self._rosters[roster.name], self._by_digest[_digest(roster.name)]

    def set(self, roster: Roster, key: str, value: Any) -> None:
        """Write into this process's own part; None takes the key out."""
        after, roster.version = roster.version, next(self._versions)
        self._newest = roster.version
        if value is None:
            roster.own.pop(key, None)
        else:
            roster.own[key] = value
        message = {
            "from": self.processes.id,
            "after": after,
            "version": roster.version,
            "changes": {key: value},
        }
        broker = self.processes.broker
        if broker is None:
            self.receive(roster, message)
            return
        # Where the broker does not take it, the beats will tell.
        forget(broker.publish(roster.name, Envelope(self.control, message)))

    def receive(self, roster: Roster, message: dict[str, Any]) -> None:
        """A change, as it comes on the topic."""
        process = message["from"]
        if not roster.apply(process, message["after"], message["version"], message["changes"]):
            self._ask(process, roster)

    def _ask(self, process: str, roster: Roster) -> None:
        if process == self.processes.id:
            roster.replace(process, roster.version, dict(roster.own))
        else:
            forget(self._ask_one(process, roster))

    async def _ask_one(self, process: str, roster: Roster) -> None:
        try:
            self._take(roster, await self.processes.ask(process, "roster", roster.name))
        except (LookupError, TimeoutError, RPCError, BrokerUnavailable):
            pass  # it is asked again at a later beat

    def _take(self, roster: Roster, answer: Any) -> None:
        if answer is not None and self._rosters.get(roster.name) is roster:
            roster.replace(*answer)

    def _part_of(self, name: str) -> Any:
        roster = self._rosters.get(name)
        return roster and [self.processes.id, roster.version, dict(roster.own)]

    # The beats

    def _tell(self) -> dict[str, Any]:
        """Of the next rosters, all of them in turn."""
        if not self._untold:
            self._untold = [each for each in self._rosters.values() if each.own]
            self._part = 0
            self._cycle_version = self._newest
        told, self._untold = self._untold[:MAX_TOLD], self._untold[MAX_TOLD:]
        self._part += 1
        return {
            "part": self._part,
            "version": self._cycle_version,
            "last": not self._untold,
            "rosters": {_digest(each.name): each.version for each in told if each.own},
        }

    def _told(self, process: str, news: dict[str, Any]) -> None:
        cycle = self._cycles.pop(process, None)
        if news["part"] == 1:
            cycle = _Cycle(news["version"])
        if cycle is not None and cycle.is_next(news["part"], news["version"]):
            self._cycles[process] = cycle
        else:
            cycle = None  # a beat was lost: the next cycle will do
        for digest, version in news["rosters"].items():
            roster = self._by_digest.get(digest)
            if roster is None:
                continue
            if cycle is not None:
                cycle.told.add(roster.name)
            part = roster.parts.get(process)
            if part is None or part.version < version:
                self._ask(process, roster)
        if cycle is not None and news["last"]:
            self._forget_untold(process, cycle)

    def _forget_untold(self, process: str, cycle: _Cycle) -> None:
        """A whole cycle was heard: what it did not tell of, the process does not have."""
        for roster in tuple(self._rosters.values()):
            part = roster.parts.get(process)
            if part is not None and roster.name not in cycle.told and part.version <= cycle.version:
                roster.replace(process, part.version, {})

    def _came(self, process: str) -> None:
        """Another process is heard for the first time, or again; mostly this one has just begun."""
        for roster in islice(self._rosters.values(), MAX_ASKED):
            self._ask(process, roster)

    def _gone(self, process: str) -> None:
        self._cycles.pop(process, None)
        for roster in tuple(self._rosters.values()):
            part = roster.parts.get(process)
            if part is not None:
                roster.replace(process, part.version, {})


class _Cycle:
    """What one process has told of since it last began anew."""

    __slots__ = ("parts", "told", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        """What it had changed when it began. Later changes it may leave untold."""
        self.parts = 0
        self.told: set[str] = set()

    def is_next(self, part: int, version: int) -> bool:
        self.parts += 1
        return self.parts == part and self.version == version


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
