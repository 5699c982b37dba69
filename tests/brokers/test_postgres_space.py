"""What the database holds stays bounded, whatever goes through it."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from snorky.brokers import Append, Retention, postgres
from snorky.brokers.postgres import writer
from snorky.envelope import Envelope
from snorky.testing.brokers.log import Inbox, opened, until
from tests.brokers.conftest import Execute, StartBroker
from tests.conftest import ExpectLog

SLICES_OF_AN_HOUR = 360
KB = 1024

SIZE = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relnamespace = 'snorky'::regnamespace AND relkind = 'r' AND relname LIKE %s
"""


async def test_an_hour_of_publications_leaves_no_more_than_its_last_slices(
    url: str,
    start_broker: StartBroker,
    execute: Execute,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where a transaction of somebody stays open, so that vacuum could remove nothing."""
    monkeypatch.setattr(writer, "SLICE_SECONDS", 0.0)  # each group has one of its own
    broker = await start_broker()
    inbox = Inbox()
    await broker.subscribe("news", inbox.deliver)
    with psycopg.connect(url) as another:
        another.execute("SELECT pg_current_xact_id()")
        tables = execute("SELECT count(*) FROM pg_class")
        for number in range(SLICES_OF_AN_HOUR):
            work = [broker.publish("news", Envelope("pubsub", f"{number:1000}")) for _ in range(10)]
            await asyncio.gather(*work)

        assert execute("SELECT count(*) < 100 FROM snorky.publications") == [(True,)]
        ((size,),) = execute(SIZE, "publi%")
        assert size < 500 * KB  # of 4 MB that were published
        assert execute("SELECT count(*) FROM pg_class") == tables
    assert len(await inbox.messages(10 * SLICES_OF_AN_HOUR)) == 10 * SLICES_OF_AN_HOUR


async def test_who_reads_a_slice_delays_its_emptying_and_nobody(
    url: str, start_broker: StartBroker, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SLICE_SECONDS", 0.0)
    broker = await start_broker()
    with psycopg.connect(url) as backup:
        for table in range(3):
            backup.execute(f"LOCK TABLE snorky.publications_{table} IN ACCESS SHARE MODE")
        for number in range(20):
            await broker.publish("news", Envelope("pubsub", number))
        ((kept,),) = execute("SELECT count(*) FROM snorky.publications")
        assert kept >= 20
    execute("UPDATE snorky.publishing SET since = '-infinity'")
    for number in range(5):
        await broker.publish("news", Envelope("pubsub", number))

    assert execute("SELECT count(*) <= 3 FROM snorky.publications") == [(True,)]


async def test_a_process_that_did_not_read_in_time_says_what_it_lost(
    start_broker: StartBroker, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    monkeypatch.setattr(writer, "SLICE_SECONDS", 0.0)
    here, there = await start_broker(), await start_broker()
    inbox = Inbox()
    await there.subscribe("news", inbox.deliver)
    there._reader._publications._last -= 1000  # as if it had slept
    for number in range(5):
        await here.publish("news", Envelope("pubsub", number))

    assert (await inbox.messages(1)) != []
    assert expect_log.all("were lost: this process did not read them in time")


async def test_entries_that_a_log_lets_go_of_leave_the_database(
    start_broker: StartBroker, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "TRIM_EVERY", 0.02)
    broker = await start_broker()
    log = await opened(broker, Retention(entries=10))
    lease = await log.take_lease("shop", 60)
    sizes = []
    for round_ in range(5):
        for step in range(6):
            entries = [Append("x" * 500, f"{round_} {step} {n}") for n in range(500)]
            last = (await log.append_step(entries, "shop", lease.fence))[-1]
        await until(lambda: execute("SELECT count(*) <= 11 FROM snorky.entries") == [(True,)])
        assert execute("SELECT count(*) < 2000 + 256 + 500 FROM snorky.keys") == [(True,)]
        execute("VACUUM snorky.entries, snorky.keys, snorky.sources")
        ((size,),) = execute(SIZE, "%")
        sizes.append(size)

    assert log.head == last
    assert sizes[4] < 1.1 * sizes[2]


async def test_keys_whose_time_has_ended_leave_the_database(
    start_broker: StartBroker, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "TRIM_EVERY", 0.02)
    monkeypatch.setattr(postgres, "SWEEP_EVERY", 0.02)
    broker = await start_broker()
    await asyncio.gather(*[broker.put(f"alice {number}", number, 0.01) for number in range(50)])
    await broker.put("bob", 1, 60)

    await until(lambda: execute("SELECT key FROM snorky.kept") == [(b"bob",)])
    assert await broker.get("bob") == 1


async def test_logs_that_nobody_follows_any_more_leave_the_database(
    start_broker: StartBroker, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, other = await start_broker(), await start_broker()
    logs = {
        name: await opened(broker, Retention(seconds=0.01), name=name)
        for name in ("left", "followed", "with a source", "with a revocation")
    }
    followed = await opened(other, name="followed")
    await logs["with a source"].take_lease("shop", 0.01)
    await logs["with a revocation"].append("revoked", keep=60)
    for log in logs.values():
        await log.append(1, "a")
        await log.stop()
    execute("UPDATE snorky.logs SET used = used - interval '1 hour'")
    execute("SELECT snorky.sweep(%s)", [followed.id])

    names = [name.decode() for (name,) in execute("SELECT name FROM snorky.logs ORDER BY id")]
    assert names == ["followed", "with a source", "with a revocation"]
    for table in ("entries", "keys"):
        assert execute(f"SELECT count(DISTINCT log) FROM snorky.{table}") == [(3,)]
    again = await opened(broker, name="left")
    assert (again.head.seq, again.head.epoch) != (0, logs["left"].head.epoch)
    assert again.head.seq == 0
    assert (await again.append(2, "a")).seq == 1


async def test_a_process_that_follows_many_logs_hears_of_each(start_broker: StartBroker) -> None:
    here, there = await start_broker(), await start_broker()
    names = [f"channel {number}" for number in range(60)]
    mine = await asyncio.gather(*[opened(here, name=name) for name in names])
    others = await asyncio.gather(*[opened(there, name=name) for name in names])
    last = await asyncio.gather(*[log.append(log.name) for log in mine for _ in range(5)])

    await until(lambda: all(log.head.seq == 5 for log in others))
    assert {log.read(log.first)[4].data for log in others} == set(names)
    assert max(position.seq for position in last) == 5
