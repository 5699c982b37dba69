"""PostgreSQL as the engine: the contract, over the real server."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from snorky.brokers import Broker
from snorky.brokers.postgres import PostgresBroker
from snorky.testing.brokers.engine import EngineContract
from tests.conftest import ExpectLog
from tests.servers import Postgres


@pytest.fixture(scope="module")
def shared_url(postgres_server: Postgres) -> Iterator[str]:
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def url(postgres_server: Postgres, shared_url: str) -> Iterator[str]:
    """One database for all tests, with a schema that is emptied after each of them."""
    postgres_server.start()
    yield shared_url
    postgres_server.start()
    with psycopg.connect(shared_url, autocommit=True) as connection:
        connection.execute(
            "TRUNCATE snorky.logs, snorky.entries, snorky.beside, snorky.keys, snorky.sources, "
            "snorky.kept"
        )


class TestPostgresBroker(EngineContract):
    @pytest.fixture
    async def joined(self, url: str) -> AsyncIterator[tuple[Broker, Broker]]:
        brokers = PostgresBroker(url, timeout=0.5), PostgresBroker(url, timeout=0.5)
        for broker in brokers:
            await broker.start()
        yield brokers
        for broker in brokers:
            await broker.stop()

    @pytest.fixture
    def engine(self, postgres_server: Postgres) -> Postgres:
        return postgres_server

    @pytest.fixture
    def away_is_logged(self, expect_log: ExpectLog) -> Iterator[None]:
        yield
        assert expect_log.all("is away")
