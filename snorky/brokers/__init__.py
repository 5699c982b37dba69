"""What joins the processes of one Snorky: the contract that every broker keeps.

There is one way of delivery: a publication goes through the broker also to the process that
made it.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable
from typing import Any

from snorky.brokers.log import (
    Append,
    BrokerUnavailable,
    Entry,
    EntryTooLarge,
    FenceOld,
    Lease,
    LeaseHeld,
    Log,
    Position,
    PositionLost,
    Retention,
)
from snorky.envelope import Envelope

__all__ = [
    "Append",
    "Broker",
    "BrokerUnavailable",
    "Deliver",
    "Entry",
    "EntryTooLarge",
    "FenceOld",
    "Lease",
    "LeaseHeld",
    "Log",
    "Position",
    "PositionLost",
    "Retention",
]

Deliver = Callable[[Envelope], None]
"""What a subscriber gives: it is called with each publication, in the event loop."""


class Broker(abc.ABC):
    """Carries messages between the processes of one Snorky, and keeps what they share.

    Every implementation promises:

    - **order**: what one process publishes on one topic arrives everywhere in that order;
    - **at most once** to every process: a publication may be lost with the broker's connection,
      it is never doubled. What must not be lost goes through a ``Log``;
    - **errors**: BrokerUnavailable where the broker did not take something, or did not say so. It
      is raised when what a call returned is awaited, never in the call: who need not know may drop
      it. A broker that is away takes no client down: it comes back by itself, after a random pause,
      and subscribes again.

    Methods that return ``None`` are done; those that return an awaitable return work that is
    already under way, so that a caller that need not know may drop it, errors included.
    """

    @abc.abstractmethod
    def publish(self, topic: str, payload: Envelope) -> Awaitable[None] | None:
        """Deliver ``payload`` in every process that subscribes to ``topic``, this one too."""

    @abc.abstractmethod
    def subscribe(self, topic: str, deliver: Deliver) -> Awaitable[None] | None:
        """Let ``deliver`` receive what is published on ``topic`` from now on.

        Where what it returns raises, there is no subscription.
        """

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
        """Disconnect. What was accepted before is still sent. Stops the logs that were started."""

    @abc.abstractmethod
    async def check(self) -> None:
        """Send a message round. Raises BrokerUnavailable: readiness is honest."""
