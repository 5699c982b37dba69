"""The broker on Valkey: the contract, and what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from snorky.brokers import Broker
from snorky.brokers.redis import RedisBroker
from snorky.testing.brokers.engine import EngineContract
from tests.conftest import ExpectLog
from tests.servers import Valkey


class TestRedisBroker(EngineContract):
    keeps_data = False

    @pytest.fixture
    async def joined(self, valkey: Valkey) -> AsyncIterator[tuple[Broker, Broker]]:
        brokers = RedisBroker(valkey.url, timeout=0.5), RedisBroker(valkey.url, timeout=0.5)
        for broker in brokers:
            await broker.start()
        yield brokers
        for broker in brokers:
            await broker.stop()

    @pytest.fixture
    def engine(self, valkey: Valkey) -> Valkey:
        return valkey

    @pytest.fixture
    def away_is_logged(self, expect_log: ExpectLog) -> Iterator[None]:
        yield
        assert expect_log.all("is away")
        expect_log.all("does not continue")
