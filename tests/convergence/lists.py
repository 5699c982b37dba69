"""Live lists as a page keeps them, and all that they ever showed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any


class Forbidden(Exception):
    """The web application does not show this list (any more)."""


@dataclass
class Fetched:
    """What the web application answers: rows, and a token where it could get one."""

    rows: dict[int, Any]
    token: str | None
    transaction: int


Fetch = Callable[["ListView"], Awaitable[Fetched]]


@dataclass
class Shown:
    """What a list showed, and why."""

    rows: dict[int, Any]
    position: str | None
    """None: a snapshot as it came; ``transaction`` says of when."""
    transaction: int
    why: str
    time: float = field(default_factory=monotonic)


@dataclass
class Opened:
    """A subscription, opened or about to be."""

    token: str
    rows: dict[int, Any]
    transaction: int
    id: int | None = None
    item: int | None = None
    since: str | None = None
    live: bool = False
    was_live: bool = False
    """It may say so when it comes back."""
    held: dict[int, Any] = field(default_factory=dict)

    def apply(self, changes: list[Any]) -> None:
        for change in changes:
            if self.item in change["in"]:
                data = change["data"]
            elif self.item in change["out"]:
                data = None
            else:
                continue
            if self.was_live:
                _put(self.rows, change["key"], data)
            else:
                self.held[change["key"]] = data

    def let_go(self) -> None:
        """Apply what was held, in one step."""
        for key, data in self.held.items():
            _put(self.rows, key, data)
        self.held.clear()


def _put(rows: dict[int, Any], key: int, data: Any) -> None:
    if data is None:
        rows.pop(key, None)
    else:
        rows[key] = data


class ListView:
    """One live list. ``current`` is shown; ``next`` is what it changes over to."""

    def __init__(self, model: str, query: Any, subject: str, *, refetches: bool = False) -> None:
        self.model = model
        self.query = query
        self.subject = subject
        self.refetches = refetches
        self.current: Opened | None = None
        self.next: Opened | None = None
        self.rows: dict[int, Any] | None = None
        self.status = "loading"
        self.log: list[Shown] = []
        self.fetching: asyncio.Task[None] | None = None
        self.wants_fetch = True
        self.stale = False

    def __str__(self) -> str:
        kind = "what fetches for" if self.refetches else "list"
        told = f"{kind} {self.model} {self.query} ({self.status}"
        for name, opened in (("shown", self.current), ("next", self.next)):
            if opened is not None:
                told += f", {name} as {opened.id}{' live' if opened.live else ''}"
        return f"{told}{', fetching' if self.fetching else ''})"

    def show(self, why: str, position: str | None) -> None:
        opened = self.current
        assert opened is not None
        self.rows = dict(opened.rows)
        self.log.append(Shown(self.rows, position, opened.transaction, why))

    def empty(self) -> None:
        self.current = self.next = None
        self.rows, self.status = {}, "closed"
        self.wants_fetch = False
