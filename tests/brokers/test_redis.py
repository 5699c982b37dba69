"""The broker on Valkey: the contract, and what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from snorky.brokers import Broker
from snorky.brokers.redis import RedisBroker
from snorky.testing.brokers import BrokerContract
from tests.servers import Valkey


class TestRedisBroker(BrokerContract):
    @pytest.fixture
    async def joined(self, valkey: Valkey) -> AsyncIterator[tuple[Broker, Broker]]:
        brokers = RedisBroker(valkey.url), RedisBroker(valkey.url)
        for broker in brokers:
            await broker.start()
        yield brokers
        for broker in brokers:
            await broker.stop()
