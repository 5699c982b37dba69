"""PostgreSQL as the engine: the contract, over the real server."""

from collections.abc import Iterator

import pytest

from snorky.brokers import Broker
from snorky.testing.brokers.engine import EngineContract
from tests.brokers.conftest import StartBroker
from tests.conftest import ExpectLog
from tests.patience import patient
from tests.servers import Postgres


class TestPostgresBroker(EngineContract):
    @pytest.fixture
    async def joined(self, start_broker: StartBroker) -> tuple[Broker, Broker]:
        return await start_broker(timeout=patient(2)), await start_broker(timeout=patient(2))

    @pytest.fixture
    def engine(self, postgres_server: Postgres) -> Postgres:
        return postgres_server

    @pytest.fixture
    def away_is_logged(self, expect_log: ExpectLog) -> Iterator[None]:
        yield
        assert expect_log.all("is away")
