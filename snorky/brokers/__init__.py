"""What joins the processes of one Snorky: the contract that every broker keeps.

There is one way of delivery: a publication goes through the broker also to the process that
made it.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from snorky.wire import Envelope

Deliver = Callable[[Envelope], None]


class BrokerUnavailable(Exception):
    """The broker cannot be reached, or did not accept what it was given in time."""


class Position(NamedTuple):
    """A place in a log: ``epoch`` names the log's life, ``seq`` counts its entries from 1.

    ``nonce`` is the entry's own: a log that lost its newest entries and counts them anew is
    recognised by it. The position before the first entry is ``(epoch, 0, "")``.
    """

    epoch: str
    seq: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log: ``data`` is any JSON value."""

    position: Position
    data: Any


@dataclass(frozen=True, slots=True)
class Retention:
    """How much a log keeps; past any of them the oldest entries go."""

    entries: int = 10_000
    bytes: int = 64 * 1024 * 1024
    seconds: float = 3600.0


class PositionLost(Exception):
    """The log does not hold what comes after this position (any more)."""


class Log(abc.ABC):
    """An ordered, bounded list of entries that every process reads alike.

    Every process follows a log densely and in order: no entry is skipped or seen twice.
    """

    @abc.abstractmethod
    def append(self, data: Any, key: str | None = None) -> Position | Awaitable[Position]:
        """Append one entry, whole or not at all, and return its position.

        The same ``key`` again while its entry is kept appends nothing and returns that entry's
        position. Raises BrokerUnavailable.
        """

    @property
    @abc.abstractmethod
    def head(self) -> Position:
        """The position of the newest entry."""

    @abc.abstractmethod
    def read(self, after: Position, limit: int = 1000) -> Sequence[Entry]:
        """Return up to ``limit`` entries after a position, oldest first. Raises PositionLost."""

    @abc.abstractmethod
    def follow(self, deliver: Callable[[Entry], None]) -> Callable[[], None]:
        """Call ``deliver`` with every entry from now on; returns a function that ends it."""


class Broker(abc.ABC):
    """Carries messages between the processes of one Snorky, and keeps what they share.

    Every implementation promises:

    - **order**: what one process publishes on one topic arrives everywhere in that order;
    - **at most once** to every process: a publication may be lost with the broker's connection,
      it is never doubled. What must not be lost goes through a ``Log``;
    - **errors**: BrokerUnavailable where the broker did not take something. A broker that is away
      takes no client down: it comes back by itself and subscribes again.

    Methods that return ``None`` are done; those that return an awaitable return work that is
    already under way, so that a caller that need not know may drop it.
    """

    @abc.abstractmethod
    def publish(self, topic: str, payload: Envelope) -> Awaitable[None] | None:
        """Deliver ``payload`` in every process that subscribes to ``topic``, this one too."""

    @abc.abstractmethod
    def subscribe(self, topic: str, deliver: Deliver) -> Awaitable[None] | None:
        """Let ``deliver`` receive what is published on ``topic`` from now on."""

    @abc.abstractmethod
    def unsubscribe(self, topic: str, deliver: Deliver) -> Awaitable[None] | None:
        """End a subscription. Raises KeyError where there is none."""

    @abc.abstractmethod
    def log(self, name: str, retention: Retention | None = None) -> Log:
        """The log of that name, made at the first use. ``retention`` counts at that use."""

    @abc.abstractmethod
    def claim(self, key: str, ttl: float) -> bool | Awaitable[bool]:
        """Set ``key`` for ``ttl`` seconds if nobody has: True for the one who was first."""

    @abc.abstractmethod
    def put(self, key: str, value: Any, ttl: float) -> Awaitable[None] | None:
        """Keep ``value``, any JSON value, for ``ttl`` seconds."""

    @abc.abstractmethod
    def get(self, key: str) -> Any | Awaitable[Any]:
        """The value kept under ``key``, or None."""

    @abc.abstractmethod
    def delete(self, key: str) -> Awaitable[None] | None:
        """Forget ``key``; nothing happens where there is none."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Connect. Called once, in the event loop, before anything else."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Disconnect. What was accepted before is still sent."""

    @abc.abstractmethod
    async def check(self) -> None:
        """Send a message round. Raises BrokerUnavailable: readiness is honest."""
