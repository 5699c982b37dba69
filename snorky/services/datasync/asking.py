"""What a call of ``openSubscriptions`` asks for, and what has been found out about it so far."""

from __future__ import annotations

from typing import Any, NamedTuple

from snorky.brokers.log import Position
from snorky.services.base import Request
from snorky.services.datasync.dealing import Dealt
from snorky.services.datasync.items import Item
from snorky.services.datasync.selection import Described
from snorky.services.datasync.tokens import Token


class Wanted:
    """One subscription that a call wants to open."""

    __slots__ = ("dealt", "items", "live", "reach", "reason", "since", "subject", "text", "token")

    def __init__(self, subscription: Any) -> None:
        given = subscription if isinstance(subscription, dict) else {}
        self.text: Any = given.get("token")
        self.since: Any = given.get("since")
        self.live = given.get("live") is True and self.since is not None
        self.reach = 0
        """The entry that must have been handed out here: what the page fetched may show it."""
        self.reason: str | None = None
        self.token: Token | None = None
        self.subject: str | None = None
        self.dealt: Dealt | None = None
        self.items: tuple[Item, ...] = ()

    @property
    def described(self) -> Described:
        assert self.dealt is not None
        return self.dealt.described(self.subject)


class Asking:
    """One call of ``openSubscriptions``."""

    __slots__ = ("holds", "request", "wanted")

    def __init__(self, request: Request, wanted: list[Wanted]) -> None:
        self.request = request
        self.wanted = wanted
        self.holds: Position | None = None
        """What the log was found to hold: mostly a page says the same for all."""


class ToldAt(NamedTuple):
    """When and where a call is answered."""

    position: str
    epoch: str
    first: int
    """Entries up to this one are not kept any more."""
    halfway: int
    """Those up to this one are in the older half of what is."""
    now: float
    """Seconds since 1970."""
