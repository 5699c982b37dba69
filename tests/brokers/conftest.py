"""PostgreSQL for the tests of its broker: one database, emptied after each of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from snorky.brokers.postgres import PostgresBroker
from tests.servers import Postgres

TABLES = ("logs", "entries", "beside", "keys", "sources", "kept")


@pytest.fixture(scope="module")
def shared_url(postgres_server: Postgres) -> Iterator[str]:
    postgres_server.start()
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def url(postgres_server: Postgres, shared_url: str) -> Iterator[str]:
    """The address of a database whose schema, if any, is empty. The test may stop the server."""
    postgres_server.start()
    yield shared_url
    postgres_server.start()
    with psycopg.connect(shared_url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('snorky.logs')").fetchone() != (None,):
            connection.execute(f"TRUNCATE {', '.join(f'snorky.{table}' for table in TABLES)}")


StartBroker = Callable[..., Awaitable[PostgresBroker]]


@pytest.fixture
async def start_broker(url: str) -> AsyncIterator[StartBroker]:
    """``await start_broker(url, **options)`` -> a broker that runs; stopped when the test ends."""
    async with AsyncExitStack() as brokers:

        async def start(address: str = url, **options: Any) -> PostgresBroker:
            broker = PostgresBroker(address, **options)
            await broker.start()
            brokers.push_async_callback(broker.stop)
            return broker

        yield start


Execute = Callable[..., list[Any]]


@pytest.fixture
def execute(url: str) -> Execute:
    """``execute(statement, *parameters)`` -> rows, by a connection of its own."""

    def run(statement: Any, *parameters: Any) -> list[Any]:
        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute(statement, parameters)
            return found.fetchall() if found.description else []

    return run
