"""A broker that takes its time, as one over a network does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from snorky.brokers import BrokerUnavailable
from snorky.brokers.memory import MemoryBroker
from snorky.envelope import Envelope


class LateBroker(MemoryBroker):
    """Does nothing while ``done`` is cleared: who subscribes receives nothing before that.

    While ``away`` it takes nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.done = asyncio.Event()
        self.done.set()
        self.away = False
        self.asked: list[str] = []
        """Topics that it was asked to subscribe to, and not to leave since."""

    @property
    def topics(self) -> list[str]:
        """Those to which somebody is subscribed."""
        return sorted(self._subscriptions)

    def publish(self, topic: str, payload: Envelope) -> Any:
        return self._later(super().publish, topic, payload)

    def subscribe(self, topic: str, deliver: Any) -> Any:
        self.asked.append(topic)
        return self._later(super().subscribe, topic, deliver)

    def unsubscribe(self, topic: str, deliver: Any) -> Any:
        self.asked.remove(topic)
        return self._later(super().unsubscribe, topic, deliver)

    def _later(self, action: Callable[..., None], *arguments: Any) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._act(action, *arguments))

    async def _act(self, action: Callable[..., None], *arguments: Any) -> None:
        await asyncio.sleep(0)
        await self.done.wait()
        if self.away:
            raise BrokerUnavailable("the broker is away")
        action(*arguments)


async def settle() -> None:
    """Until nothing goes on that does not wait for something."""
    for _ in range(20):
        await asyncio.sleep(0)
