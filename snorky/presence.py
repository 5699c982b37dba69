"""Who is in a channel, over all processes: each identity once, with its connections counted.

Every process sees the same, sooner or later, and tells its own clients of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Literal, Protocol

from snorky.limits import Limits
from snorky.rosters import Rosters
from snorky.services.keys import value_of

Status = Literal["joined", "left"]

COUNT_SECONDS = 1.0
"""How often, at most, the members of a large channel are told how many they are."""


class Watcher(Protocol):
    """Tells the clients of this process, in a channel, of the others."""

    def identity_came_or_went(self, key: str, status: Status) -> None: ...
    def count_changed(self) -> None: ...
    def members_listed(self) -> None: ...


class Presence:
    """The members of one channel. Identities are given as their canonical texts.

    ``anonymous`` is the key of connections that count though nobody is told who they are.

    Past ``limits.max_members``, or with ``count_only``, a channel is large: nobody is told who
    comes and goes, but how many there are.
    """

    def __init__(
        self,
        name: str,
        rosters: Rosters,
        watcher: Watcher,
        limits: Limits,
        *,
        count_only: bool,
        anonymous: str | None = None,
    ) -> None:
        self._rosters = rosters
        self._watcher = watcher
        self._anonymous = anonymous
        self._most = 0 if count_only else limits.max_members
        self._roster = rosters.open(name, self._changed)
        self._totals: dict[str, int] = {}
        self._counting: asyncio.TimerHandle | None = None
        self._count_is_new = False
        self.is_large = count_only

    def learn(self) -> Awaitable[None] | None:
        """Ask the other processes; None where there is nobody to ask."""
        return self._rosters.learn(self._roster)

    def receive(self, message: dict[str, Any]) -> None:
        self._rosters.receive(self._roster, message)

    def enter(self, key: str) -> None:
        """One more connection of an identity is here."""
        self._rosters.set(self._roster, key, self._roster.own.get(key, 0) + 1)

    def leave(self, key: str) -> None:
        self._rosters.set(self._roster, key, (self._roster.own[key] - 1) or None)

    def close(self) -> None:
        self._rosters.close(self._roster)
        if self._counting is not None:
            self._counting.cancel()

    def told(self, newcomer: str | None = None) -> dict[str, Any]:
        """What who joins is told: ``members``; in a large channel none, but their ``count``.

        ``newcomer`` is there whether it has been told to everybody yet or not.
        """
        totals, anonymous = self._totals, self._anonymous
        comes = newcomer is not None and newcomer not in totals
        if self.is_large:  # not walked through: it may have a hundred thousand
            others = 0 if anonymous is None else max(0, totals.get(anonymous, 0) - 1)
            return {"members": [], "count": len(totals) + others + comes}
        keys = [*totals, newcomer] if comes and newcomer is not None else list(totals)
        return {"members": [value_of(key) for key in keys if key != anonymous]}

    def _changed(self, process: str, key: str, before: int | None, after: int | None) -> None:
        known = self._totals.get(key, 0)
        total = known - (before or 0) + (after or 0)
        if total > 0:
            self._totals[key] = total
        else:
            self._totals.pop(key, None)
        if (known > 0) == (total > 0):
            if key == self._anonymous and self.is_large:
                self._count_later()
            return
        if key == self._anonymous:
            if self.is_large:
                self._count_later()
        elif self.is_large:
            if self._most and len(self._totals) <= self._most * 0.9:
                self.is_large = False
                self._watcher.members_listed()
            else:
                self._count_later()
        else:
            self._watcher.identity_came_or_went(key, "joined" if total > 0 else "left")
            if len(self._totals) > self._most:
                self.is_large = True
                self._count_later()

    def _count_later(self) -> None:
        """Tell the count now, or when it was told a while ago."""
        self._count_is_new = True
        if self._counting is None:
            self._tell_count()

    def _tell_count(self) -> None:
        self._counting = None
        if self._count_is_new and self.is_large:
            self._count_is_new = False
            self._watcher.count_changed()
            self._counting = asyncio.get_running_loop().call_later(COUNT_SECONDS, self._tell_count)
