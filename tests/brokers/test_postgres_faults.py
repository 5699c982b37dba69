"""What a broker does where PostgreSQL is not as it should be, and when it is another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from snorky.brokers import BrokerUnavailable
from snorky.brokers.postgres import PostgresBroker, reader, schema, writer
from snorky.cli import main
from snorky.envelope import Envelope
from snorky.testing.brokers.engine import Followed, back
from snorky.testing.brokers.log import Inbox, opened, until
from tests.brokers.conftest import Execute, StartBroker
from tests.conftest import ExpectLog
from tests.patience import patient
from tests.pooler import Pooler
from tests.relay import Relay
from tests.servers import Postgres


def through(port: int, url: str) -> str:
    """The address of the same database over a port of 127.0.0.1."""
    database = urlsplit(url).path
    return f"postgresql://postgres@127.0.0.1:{port}{database}?sslmode=disable&gssencmode=disable"


def socket_of(url: str) -> str:
    return f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.5432"


@pytest.fixture
async def relay(url: str) -> AsyncIterator[Relay]:
    relay = Relay(socket_of(url))
    await relay.start()
    yield relay
    await relay.stop()


@pytest.fixture
async def pooler(url: str) -> AsyncIterator[Pooler]:
    pooler = Pooler(socket_of(url))
    await pooler.start()
    yield pooler
    await pooler.stop()


# Connecting


@pytest.mark.parametrize("url_", ["http://127.0.0.1/", "port=5 nonsense"])
def test_what_is_no_address_is_refused_at_once(url_: str) -> None:
    with pytest.raises(ValueError, match="expected an address as postgresql://"):
        PostgresBroker(url_)


@pytest.mark.parametrize("name", ["", "a b", 'x"; DROP', "Ä", "9", "x" * 41])
def test_a_schema_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="expected a schema of a-z"):
        PostgresBroker("postgresql://localhost/shop", schema=name)


async def test_errors_and_log_name_the_address_without_its_password(
    expect_log: ExpectLog,
) -> None:
    broker = PostgresBroker("postgresql://shop:secret@127.0.0.1:9/orders", timeout=patient(2))
    assert broker.address == "postgresql://127.0.0.1:9/orders"
    with pytest.raises(BrokerUnavailable, match="refused") as raised:
        await broker.start()
    assert "secret" not in str(raised.value)
    with pytest.raises(BrokerUnavailable):
        await broker.publish("news", Envelope("pubsub", 1))


async def test_a_pooler_in_transaction_mode_is_refused_and_named(pooler: Pooler, url: str) -> None:
    with pytest.raises(BrokerUnavailable, match="is a pooler in transaction mode"):
        await PostgresBroker(through(pooler.port, url)).start()


async def test_who_may_not_make_the_schema_is_told_what_to_run(
    start_broker: StartBroker, execute: Execute
) -> None:
    url = await a_role_that_may_nothing(execute)
    with pytest.raises(BrokerUnavailable, match=r"snorky broker init postgresql://"):
        await start_broker(url, schema="elsewhere")
    with pytest.raises(BrokerUnavailable, match="has no schema elsewhere of version 1"):
        await start_broker(url, schema="elsewhere", make_schema=False)


async def test_a_command_makes_the_schema_for_a_role_that_may_not(
    url: str, start_broker: StartBroker, execute: Execute
) -> None:
    limited = await a_role_that_may_nothing(execute)
    words = ["broker", "init", url, "--schema", "made", "--grant", "limited"]
    for _ in range(2):
        done = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert (done.exit_code, done.output) == (0, "The schema made is ready, in version 1.\n")

    broker = await start_broker(limited, schema="made", make_schema=False)
    await broker.check()
    log = await opened(broker)
    assert (await log.append(1)).seq == 1
    await broker.put("a", 1, 60)


def test_a_command_that_cannot_make_the_schema_says_why() -> None:
    done = CliRunner().invoke(main, ["broker", "init", "postgresql://127.0.0.1:9/shop"])
    assert done.exit_code == 1
    assert "The schema could not be made" in done.output


async def test_the_schema_of_a_newer_snorky_is_left_alone(
    start_broker: StartBroker, execute: Execute
) -> None:
    await start_broker(schema="newer")
    execute(f"UPDATE newer.database SET version = {schema.VERSION + 1}")
    with pytest.raises(BrokerUnavailable, match="made by a newer Snorky"):
        await start_broker(schema="newer")


async def test_processes_that_come_at_once_make_one_schema(start_broker: StartBroker) -> None:
    brokers = await asyncio.gather(*[start_broker(schema="at_once") for _ in range(4)])
    for broker in brokers:
        await broker.check()


async def a_role_that_may_nothing(execute: Execute) -> str:
    if not execute("SELECT 1 FROM pg_roles WHERE rolname = 'limited'"):
        execute("CREATE ROLE limited LOGIN")
    ((database, folder),) = execute(
        "SELECT current_database(), current_setting('unix_socket_directories')"
    )
    return f"postgresql://limited@/{database}?host={folder}"


# Networks


async def test_a_connection_that_is_cut_loses_nothing_that_was_accepted(
    relay: Relay, url: str, start_broker: StartBroker, expect_log: ExpectLog
) -> None:
    here, there = await start_broker(), await start_broker(through(relay.port, url))
    followed = Followed(await opened(there))
    inbox = Inbox()
    await there.subscribe("news", inbox.deliver)
    log = await opened(here)
    for number in range(5):
        relay.cut()
        await log.append(number)
        await here.publish("news", Envelope("pubsub", number))

    assert await inbox.messages(5) == [0, 1, 2, 3, 4]
    await until(lambda: followed.seen == [0, 1, 2, 3, 4])
    assert followed.lost == 0
    assert expect_log.all("is away")


async def test_a_server_that_does_not_answer_is_away_after_the_timeout(
    relay: Relay, url: str, start_broker: StartBroker, expect_log: ExpectLog
) -> None:
    broker = await start_broker(through(relay.port, url), timeout=patient(0.5))
    inbox = Inbox()
    await broker.subscribe("news", inbox.deliver)
    relay.hold()
    with pytest.raises(BrokerUnavailable):
        await broker.publish("news", Envelope("pubsub", 1))
    with pytest.raises(BrokerUnavailable):
        await broker.check()

    relay.go_on()
    await back(broker)
    await broker.publish("news", Envelope("pubsub", 2))
    while (await inbox.messages(1)) != [2]:  # the first may have been written: nobody knows
        pass
    assert expect_log.all("is away")


async def test_a_slow_network_delays_and_loses_nothing(
    relay: Relay, url: str, start_broker: StartBroker
) -> None:
    broker = await start_broker(through(relay.port, url))
    inbox = Inbox()
    await broker.subscribe("news", inbox.deliver)
    relay.delay = 0.03
    work = [broker.publish("news", Envelope("pubsub", number)) for number in range(300)]
    await asyncio.gather(*work)

    assert await inbox.messages(300) == list(range(300))


async def test_a_crash_of_the_server_ends_no_subscription_and_loses_no_entry(
    postgres_server: Postgres, start_broker: StartBroker, expect_log: ExpectLog
) -> None:
    here, there = await start_broker(), await start_broker()
    inbox = Inbox()
    followed = Followed(await opened(there))
    log = await opened(here)
    await there.subscribe("news", inbox.deliver)
    await here.publish("news", Envelope("pubsub", "before"))
    before = await log.append("before")
    assert await inbox.messages(1) == ["before"]
    await asyncio.to_thread(postgres_server.stop, abruptly=True)
    await asyncio.to_thread(postgres_server.start)
    await back(here)
    await back(there)
    await here.publish("news", Envelope("pubsub", "after"))

    assert await inbox.messages(1) == ["after"]
    after = await log.append("after")
    assert (after.epoch, after.seq) == (before.epoch, 2)
    await until(lambda: followed.seen == ["before", "after"])
    assert followed.lost == 0
    assert expect_log.all("is away")


# Another database


async def test_a_database_that_was_restored_or_promoted_begins_every_log_anew(
    postgres_server: Postgres, start_broker: StartBroker, execute: Execute, expect_log: ExpectLog
) -> None:
    broker = await start_broker()
    log = await opened(broker)
    followed = Followed(log)
    before = await log.append("before", "a")
    lease = await log.take_lease("shop", 60)
    execute("UPDATE snorky.database SET identity = 'another'")
    await asyncio.to_thread(postgres_server.restart)
    await back(broker)
    await until(lambda: followed.lost == 1)
    after = await log.append("after", "a")

    assert after.epoch != before.epoch
    assert after.seq == 1
    assert (await log.take_lease("shop", 60)).fence != lease.fence
    expect_log("is not the one it was: it was restored or promoted")
    assert expect_log.all("is away")


async def test_processes_follow_to_a_replica_that_is_promoted_and_begin_anew(
    postgres_server: Postgres, url: str, start_broker: StartBroker, expect_log: ExpectLog
) -> None:
    with postgres_server.replica() as replica:
        broker = await start_broker(f"{url},{replica.folder}")  # of the two, the one that writes
        followed = Followed(await opened(broker))
        before = await followed.log.append("before", "a")
        await until(lambda: followed.seen == ["before"])
        with pytest.raises(BrokerUnavailable, match="session is read-only"):
            await start_broker(url.replace(str(postgres_server.folder), str(replica.folder)))

        await asyncio.to_thread(postgres_server.stop, abruptly=True)
        await asyncio.to_thread(replica.promote)
        await back(broker)
        await until(lambda: followed.lost == 1)
        after = await followed.log.append("after", "a")
        assert after.epoch != before.epoch
        await until(lambda: followed.seen[-1] == "after")
        expect_log("is not the one it was: it was restored or promoted")
        assert expect_log.all("is away")
        await broker.stop()


@pytest.mark.parametrize("followers", ["behind", "ahead"])
async def test_entries_that_the_database_has_lost_lead_to_another_epoch(
    start_broker: StartBroker,
    execute: Execute,
    expect_log: ExpectLog,
    monkeypatch: pytest.MonkeyPatch,
    followers: str,
) -> None:
    """As after files were copied back, or a crash without fsync."""
    monkeypatch.setattr(reader, "LOOK_EVERY", 0.1)
    broker = await start_broker()
    followed = Followed(await opened(broker))
    for number in range(3):
        before = await followed.log.append(number)
    await until(lambda: followed.log.head == before)
    execute("DELETE FROM snorky.entries WHERE seq > 1")
    if followers == "behind":  # another process has counted them anew already
        execute(
            "INSERT INTO snorky.entries SELECT log, n, 'other', at, total, text "
            "FROM snorky.entries, generate_series(2, 5) AS n"
        )
    await until(lambda: followed.lost == 1)

    after = await followed.log.append("after")
    assert (after.epoch != before.epoch, after.seq) == (True, 1)
    await until(lambda: followed.seen == [0, 1, 2, "after"])
    expect_log("entries were lost")


async def test_a_process_that_is_too_far_behind_is_told_so(
    relay: Relay, url: str, start_broker: StartBroker, execute: Execute, expect_log: ExpectLog
) -> None:
    here, there = await start_broker(), await start_broker(through(relay.port, url))
    followed = Followed(await opened(there))
    log = await opened(here)
    first = await log.append("first")
    await until(lambda: followed.log.head == first)
    relay.hold()
    relay.cut()
    for number in range(5):
        last = await log.append(number)
    execute("DELETE FROM snorky.entries WHERE seq < 4")
    relay.go_on()

    await until(lambda: followed.log.head == last)
    assert (followed.lost, followed.seen) == (1, ["first"])
    assert last.epoch == first.epoch
    expect_log("this process was too far behind")
    assert expect_log.all("is away")


async def test_a_database_without_its_data_is_taken_into_use_again(
    start_broker: StartBroker, execute: Execute, expect_log: ExpectLog
) -> None:
    broker = await start_broker()
    followed = Followed(await opened(broker))
    inbox = Inbox()
    await broker.subscribe("news", inbox.deliver)
    before = await followed.log.append("before", "a")
    await until(lambda: followed.seen == ["before"])
    execute("DROP SCHEMA snorky CASCADE")
    await until(lambda: followed.lost == 1)
    await back(broker)
    after = await followed.log.append("after", "a")

    assert after.epoch != before.epoch
    await until(lambda: followed.seen == ["before", "after"])
    await broker.publish("news", Envelope("pubsub", "after"))
    assert await inbox.messages(1) == ["after"]
    assert expect_log.all("is away")


# One process


async def test_a_statement_that_the_database_refuses_fails_alone(
    start_broker: StartBroker, execute: Execute, expect_log: ExpectLog
) -> None:
    broker = await start_broker()
    execute("ALTER TABLE snorky.kept ADD CONSTRAINT picky CHECK (key <> 'bad')")
    try:
        work = [broker.put(key, 1, 60) for key in ("good", "bad", "better")]
        done = await asyncio.gather(*work, return_exceptions=True)
    finally:
        execute("ALTER TABLE snorky.kept DROP CONSTRAINT picky")

    assert (done[0], done[2]) == (None, None)
    assert isinstance(done[1], BrokerUnavailable)
    assert await broker.get("better") == 1
    expect_log("PostgreSQL refused to write for the broker")


async def test_more_than_can_be_written_is_refused(
    start_broker: StartBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 100)
    broker = await start_broker()
    work = [broker.publish("news", Envelope("pubsub", number)) for number in range(150)]
    done = await asyncio.gather(*work, return_exceptions=True)

    assert [type(each) for each in done] == [type(None)] * 100 + [BrokerUnavailable] * 50
    assert "more is published than" in str(done[-1])
    await broker.publish("news", Envelope("pubsub", "again"))


async def test_a_process_that_only_small_things_wake_still_looks_at_everything(
    start_broker: StartBroker, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LOOK_EVERY", 0.2)
    here, there = await start_broker(), await start_broker()
    inbox = Inbox()
    await there.subscribe("news", inbox.deliver)
    log = await opened(there)
    looked = there._reader._looked
    async with asyncio.timeout(patient(10)):
        while there._reader._looked == looked:
            await here.publish("news", Envelope("pubsub", 1))
    assert log.lag == 0


async def test_who_starts_again_begins_with_what_is_published_then(
    start_broker: StartBroker,
) -> None:
    here, there = await start_broker(), await start_broker()
    inbox = Inbox()
    await there.subscribe("news", inbox.deliver)
    await there.stop()
    await here.publish("news", Envelope("pubsub", "while it was stopped"))
    await there.start()
    await here.publish("news", Envelope("pubsub", "after"))

    assert await inbox.messages(1) == ["after"]
