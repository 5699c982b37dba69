"""What engines answer, and what that means, without an engine."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis.exceptions import NoScriptError, RedisError, ResponseError

from snorky.brokers import BrokerUnavailable, Position
from snorky.brokers.postgres import PostgresBroker
from snorky.brokers.postgres import log as postgres_log
from snorky.brokers.postgres.publications import Publications
from snorky.brokers.redis import RedisBroker
from snorky.brokers.redis.addresses import Cluster, MasterOfSentinels, OneServer
from snorky.brokers.redis.link import converted
from tests.ports import free_port


def answer() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


async def test_what_redis_refuses_is_not_available() -> None:
    for fault in (ResponseError("no"), NoScriptError("unknown")):
        said = answer()
        result = converted(said, bytes)
        said.set_exception(fault)
        with pytest.raises(BrokerUnavailable):
            await result


async def test_a_script_that_redis_has_lost_is_sent_again() -> None:
    said, said_again = answer(), answer()
    result = converted(said, int, lambda: said_again)
    said.set_exception(NoScriptError("unknown"))
    said_again.set_result(b"7")
    assert await result == 7


async def test_an_answer_that_nobody_waits_for_any_more_is_dropped() -> None:
    said = answer()
    result = converted(said, int)
    result.cancel()
    said.set_result(b"7")
    await asyncio.sleep(0)
    assert result.cancelled()


async def test_what_is_kept_beside_a_log_has_a_bound_on_each_engine() -> None:
    with pytest.raises(OverflowError):
        RedisBroker("redis://127.0.0.1").log("orders")._positions([b"full"])
    with pytest.raises(OverflowError):
        postgres_log._check("too many beside", None)
    with pytest.raises(BrokerUnavailable, match="says: something new"):
        postgres_log._check("something new", None)


async def test_a_cluster_that_nobody_has_described_is_asked_at_its_first_address() -> None:
    cluster = Cluster([("127.0.0.1", free_port())], {}, 0.5)
    assert cluster.node_of(b"key") == cluster._seeds[0]
    with pytest.raises(RedisError, match="connect"):
        await cluster.look()


def test_sentinels_have_options_of_their_own() -> None:
    options = {"password": "the master's", "sentinel_password": "theirs"}
    named = MasterOfSentinels([("127.0.0.1", 1)], "shop", options, 0.5)
    assert named._asked["password"] == "theirs"
    assert named._options["password"] == "the master's"


async def test_one_server_is_where_it_was() -> None:
    assert await OneServer({}, 0.5).look() is None


async def test_who_leaves_a_topic_while_postgresql_is_asked_has_left() -> None:
    publications, joining, came = Publications("snorky"), answer(), list[Any]()
    deliver = came.append
    publications.add(joining, b"news", deliver)
    publications.remove(b"news", deliver)
    assert joining.done()
    with pytest.raises(KeyError):
        publications.remove(b"news", deliver)


async def test_a_log_in_postgresql_begins_where_it_was_trimmed() -> None:
    log = PostgresBroker("postgresql://localhost/nobody").log("orders")
    now = time.time()
    rows = [(seq, f"n{seq}", now, b"%d" % seq) for seq in (5, 6)]
    log.begin("a", rows)
    assert (log.first, log.head) == (Position("a", 5, "n5"), Position("a", 6, "n6"))
    log._promise([Position("a", 7, "mine")])
    assert log.receive("a", [rows[1], (7, "another's", now, b"7")]) == postgres_log.LOST
