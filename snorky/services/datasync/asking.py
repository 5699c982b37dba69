"""What a call of ``openSubscriptions`` asks for, and what has been found out about it so far."""

from __future__ import annotations

from typing import Any, NamedTuple

from snorky.brokers.log import Position
from snorky.services.base import Request
from snorky.services.datasync.dealers import Dealer
from snorky.services.datasync.items import Item
from snorky.services.datasync.selection import Described
from snorky.services.datasync.tokens import Token


class Refused(Exception):
    """An opening that is refused, with its reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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


class Dealt:
    """Who deals in the items of a token, while no dealer comes or goes."""

    __slots__ = ("_items", "_models", "each", "found", "version")

    def __init__(self, version: int, each: list[tuple[Dealer, Any, str, frozenset[str]]]) -> None:
        self.version = version
        self.each = each
        """Dealer, query, its key and its models."""
        self.found: tuple[Item, ...] = ()
        """The items, as long as they are matched."""
        self._items = frozenset([(dealer.name, key) for dealer, _, key, _ in each])
        self._models = frozenset[str]().union(*(models for _, _, _, models in each))

    def described(self, subject: str | None) -> Described:
        return Described(subject, self._items, self._models)
