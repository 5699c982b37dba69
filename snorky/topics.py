"""The topics of a service: who receives them here, by one subscription each at the broker.

A process is subscribed to a topic while somebody here holds it. All who come while that is under
way wait for the same thing, so nobody is told that it receives before the process does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

from snorky.audience import Audience
from snorky.brokers import Broker, Deliver


class Topic:
    """One topic in this process. Services may derive theirs."""

    __slots__ = ("audience", "deliver", "holders", "name", "pending")

    def __init__(self, name: str) -> None:
        self.name = name
        self.audience = Audience()
        self.deliver: Deliver = self.audience.send
        """What the broker calls for each publication."""
        self.holders = 0
        self.pending: asyncio.Future[None] | None = None
        """The broker's answer, as long as it has not come."""

    def begin(self, broker: Broker) -> Awaitable[None] | None:
        """Receive from now on. Where it fails nothing is left of it."""
        return broker.subscribe(self.name, self.deliver)

    def end(self, broker: Broker) -> Awaitable[None] | None:
        """Receive no longer."""
        return broker.unsubscribe(self.name, self.deliver)

    async def subscribed(self) -> None:
        """Return when the process is subscribed. Raises what the broker raised."""
        if self.pending is not None:
            # Others wait for it too: who gives up must not take it from them.
            await asyncio.shield(self.pending)


AnyTopic = TypeVar("AnyTopic", bound=Topic)


class Topics(Generic[AnyTopic]):
    """The topics of one service that somebody in this process holds."""

    def __init__(self, broker: Broker, make: Callable[[str], AnyTopic]) -> None:
        self._broker = broker
        self._make = make
        self._topics: dict[str, AnyTopic] = {}

    def __len__(self) -> int:
        return len(self._topics)

    def __iter__(self) -> Iterator[AnyTopic]:
        return iter(tuple(self._topics.values()))

    def get(self, name: str) -> AnyTopic | None:
        """The topic, subscribed or about to be; None where nobody holds it."""
        return self._topics.get(name)

    def hold(self, name: str) -> AnyTopic:
        """Count one more who needs the topic, until ``release``.

        Where its ``pending`` is not None, wait for ``subscribed``. Raises what the broker raises:
        then nothing is held.
        """
        topic = self._topics.get(name)
        if topic is None:
            topic = self._make(name)
            begun = topic.begin(self._broker)
            self._topics[name] = topic
            if begun is not None:
                topic.pending = asyncio.ensure_future(begun)
                topic.pending.add_done_callback(partial(self._answered, topic))
        topic.holders += 1
        return topic

    def release(self, topic: AnyTopic) -> Awaitable[None] | None:
        """One fewer needs it; with the last one the subscription ends."""
        topic.holders -= 1
        if topic.holders or topic.pending is not None or self._topics.get(topic.name) is not topic:
            return None
        return self._end(topic)

    def _answered(self, topic: AnyTopic, answer: asyncio.Future[None]) -> None:
        topic.pending = None
        if answer.cancelled() or answer.exception() is not None:
            del self._topics[topic.name]  # who comes next tries again
        elif not topic.holders:  # all have left while it was under way
            forget(self._end(topic))

    def _end(self, topic: AnyTopic) -> Awaitable[None] | None:
        del self._topics[topic.name]
        return topic.end(self._broker)


def when_all(done: list[Awaitable[None] | None]) -> Awaitable[None] | None:
    """One awaitable for those that are not done; None where all are."""
    pending = [each for each in done if each is not None]
    return asyncio.ensure_future(_wait(pending)) if pending else None


async def _wait(pending: list[Awaitable[None]]) -> None:
    await asyncio.gather(*pending)


async def awaited(result: Awaitable[Any] | Any) -> Any:
    """What a broker answered, at once or later."""
    return await result if inspect.isawaitable(result) else result


def forget(done: Awaitable[Any] | None) -> None:
    """Nobody waits for it; what it raises is the broker's to log."""
    if done is not None:
        asyncio.ensure_future(done).add_done_callback(
            lambda each: each.cancelled() or each.exception()
        )
