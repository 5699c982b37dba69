"""Whether this process serves: its brokers carry messages, and it is not behind its logs.

Nothing here depends on any one client or on another process: who is slow makes nobody unready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from math import inf
from time import monotonic
from typing import Any

from snorky.brokers.log import BrokerUnavailable
from snorky.hooks import HOOK_FAULTS
from snorky.service_registry import ServiceRegistry

KEPT_SECONDS = 0.25
"""How long an answer counts: whoever asks, and how often, sends no more messages round."""


class Readiness:
    """Of the services of some registries. ``timeout``: seconds that a message may take."""

    def __init__(self, registries: Sequence[ServiceRegistry], timeout: float = 5.0) -> None:
        self.is_stopping = False
        """Set by whoever stops the process, before the first client is sent away."""
        self._registries = registries
        self._timeout = timeout
        self._looking: asyncio.Task[str | None] | None = None
        self._looked = -inf

    async def fault(self) -> str | None:
        """Why the process is not ready; None where it is."""
        if self.is_stopping:
            return "stopping"
        looking = self._looking
        if looking is None or (looking.done() and monotonic() - self._looked > KEPT_SECONDS):
            self._looking = looking = asyncio.create_task(self._look())
        # Others wait for it too, and who gives up must not take it from them.
        fault = await asyncio.shield(looking)
        return "stopping" if self.is_stopping else fault

    async def _look(self) -> str | None:
        try:
            return await self._broker_fault() or self._lag_fault()
        finally:
            self._looked = monotonic()

    async def _broker_fault(self) -> str | None:
        for broker in _brokers(self._services):
            try:
                async with asyncio.timeout(self._timeout):
                    await broker.check()
            except TimeoutError:
                return f"{broker!r}: a message did not come back within {self._timeout:g} s"
            except BrokerUnavailable as error:
                return f"{broker!r}: {error}"
            except HOOK_FAULTS as error:
                return f"{broker!r}: {error!r}"
        return None

    def _lag_fault(self) -> str | None:
        for service in self._services:
            lag, most = getattr(service, "lag", 0.0), getattr(service, "max_lag", inf)
            if lag > most:
                return f'service "{service.name}" is {lag:.0f} s behind its log'
        return None

    @property
    def _services(self) -> list[Any]:
        return [
            service
            for registry in self._registries
            for service in registry.registered_services.values()
        ]


def _brokers(services: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for service in services:
        broker = getattr(service, "broker", None)
        if broker is not None and broker not in found:
            found.append(broker)
    return found
