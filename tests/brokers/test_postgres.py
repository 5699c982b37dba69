"""PostgreSQL as the engine: the contract, over the real server."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from snorky.brokers import Broker, BrokerUnavailable
from snorky.brokers.postgres import PostgresBroker
from snorky.brokers.postgres.publications import Publications
from snorky.envelope import Envelope
from snorky.testing.brokers.engine import EngineContract
from snorky.testing.brokers.log import done
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


async def test_a_log_that_was_not_started_says_so() -> None:
    log = PostgresBroker("postgresql://localhost/nobody").log("orders")
    assert await done(log.kept_beside()) == []
    with pytest.raises(BrokerUnavailable, match="not started"):
        await done(log.append(1))


async def test_what_is_no_message_is_dropped_and_the_others_come(expect_log: ExpectLog) -> None:
    publications = Publications("snorky")
    publications.take([(0, None, None, "life", 0)])
    came: list[Any] = []
    answer = asyncio.get_running_loop().create_future()
    publications.add(answer, b"news", came.append)
    publications.join(b"news", answer)
    text = Envelope("pubsub", "good").text
    rows = [(1, b"news", b"[junk", None, None), (2, b"news", text, None, None)]
    publications.take([*rows, (2, None, None, "life", 0)])
    assert came == [{"service": "pubsub", "message": "good"}]
    expect_log("Dropped what is no message of ours on news")
