"""The broker on Valkey: the contract, and what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from snorky.brokers import Broker, BrokerUnavailable, FenceOld, PositionLost, Retention
from snorky.brokers.connecting import failed
from snorky.brokers.redis import RedisBroker, pipe
from snorky.envelope import Envelope
from snorky.testing.brokers.engine import EngineContract, Followed, back
from snorky.testing.brokers.log import DEADLINE, Inbox, done, opened, until
from tests.brokers.proxy import Proxy
from tests.conftest import ExpectLog
from tests.patience import patient
from tests.ports import free_port
from tests.servers import Valkey


class TestRedisBroker(EngineContract):
    keeps_data = False

    @pytest.fixture
    async def joined(self, valkey: Valkey) -> AsyncIterator[tuple[Broker, Broker]]:
        brokers = (
            RedisBroker(valkey.url, timeout=patient(0.5)),
            RedisBroker(valkey.url, timeout=patient(0.5)),
        )
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


@pytest.fixture(scope="module")
def kept() -> Iterator[Valkey]:
    server = Valkey(free_port(), appendonly="yes", appendfsync="always")
    yield server
    server.stop(abruptly=True)


class TestRedisBrokerThatKeepsItsData:
    """The same where it wrote everything down, and was killed without a word."""

    keeps_data = True

    @pytest.fixture
    async def here(self, kept: Valkey) -> AsyncIterator[Broker]:
        kept.start()
        kept.empty()
        async with running(RedisBroker(kept.url, timeout=patient(0.5))) as broker:
            yield broker

    @pytest.fixture
    async def there(self, here: Broker, kept: Valkey) -> AsyncIterator[Broker]:
        async with running(RedisBroker(kept.url, timeout=patient(0.5))) as broker:
            yield broker

    @pytest.fixture
    def engine(self, kept: Valkey) -> Killed:
        return Killed(kept)

    @pytest.fixture
    def away_is_logged(self, expect_log: ExpectLog) -> Iterator[None]:
        yield
        assert expect_log.all("is away")

    test_its_log_goes_on = (
        EngineContract.test_a_log_goes_on_when_the_engine_is_back_or_tells_that_entries_were_lost
    )
    test_its_fences_and_places_are_kept = (
        EngineContract.test_fences_and_places_live_as_long_as_the_log
    )


class Killed:
    """Stops a server by killing it."""

    def __init__(self, server: Valkey) -> None:
        self.start = server.start
        self._server = server

    def stop(self) -> None:
        self._server.stop(abruptly=True)


# Its connections


@pytest.fixture
async def proxy(valkey: Valkey) -> AsyncIterator[Proxy]:
    proxy = await Proxy(valkey.port).start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def near(valkey: Valkey) -> AsyncIterator[RedisBroker]:
    """A process that always reaches the server."""
    async with running(RedisBroker(valkey.url, timeout=patient(0.5))) as broker:
        yield broker


@pytest.fixture
async def far(proxy: Proxy) -> AsyncIterator[RedisBroker]:
    """A process with the proxy between it and the server."""
    async with running(RedisBroker(proxy.url, timeout=patient(0.5))) as broker:
        yield broker


@asynccontextmanager
async def running(broker: RedisBroker) -> AsyncIterator[RedisBroker]:
    await broker.start()
    yield broker
    await broker.stop()


async def test_a_process_that_is_cut_off_misses_no_entry(
    near: RedisBroker, far: RedisBroker, proxy: Proxy, expect_log: ExpectLog
) -> None:
    """Only what passed it by in the meantime is sent again; nobody is told that it was lost."""
    log, followed = await opened(near), Followed(await opened(far))
    await done(log.append(0))
    for number in range(1, 6):
        proxy.cut()
        await done(log.append(number))
    proxy.refuses = True
    proxy.cut()
    for number in range(6, 10):
        await done(log.append(number))
    proxy.refuses = False
    await until(lambda: followed.log.head.seq == 10)

    assert followed.seen == list(range(10))
    assert followed.lost == 0
    assert expect_log.all("is away")


async def test_a_server_that_does_not_answer_is_away(
    near: RedisBroker, far: RedisBroker, proxy: Proxy, expect_log: ExpectLog
) -> None:
    log, followed = await opened(near), Followed(await opened(far))
    inbox = Inbox()
    await done(far.subscribe("news", inbox.deliver))
    proxy.swallows = True
    with pytest.raises(BrokerUnavailable, match="no answer"):
        await done(far.publish("news", Envelope("pubsub", 1)))
    await done(log.append("missed"))
    await done(near.publish("news", Envelope("pubsub", "missed")))
    proxy.swallows = False
    proxy.cut()

    await until(lambda: followed.seen == ["missed"])
    await back(far)
    await done(near.publish("news", Envelope("pubsub", 2)))
    assert await inbox.messages(1) == [2]
    assert expect_log.all("is away")


async def test_a_server_that_is_slow_is_not_away(
    near: RedisBroker, far: RedisBroker, proxy: Proxy
) -> None:
    followed = Followed(await opened(far))
    inbox = Inbox()
    await done(near.subscribe("news", inbox.deliver))
    proxy.delay = 0.05
    work = [followed.log.append(number) for number in range(20)]
    work += [far.publish("news", Envelope("pubsub", number)) for number in range(20)]
    for each in work:
        await done(each)

    assert await inbox.messages(20) == list(range(20))
    await until(lambda: followed.seen == list(range(20)))


async def test_each_channel_is_subscribed_to_once_and_only_while_somebody_wants_it(
    valkey: Valkey, near: RedisBroker
) -> None:
    def counts() -> dict[bytes, int]:
        with valkey.client() as client:
            channels = client.execute_command("PUBSUB SHARDCHANNELS", "snorky:t:*")
            found = client.execute_command("PUBSUB SHARDNUMSUB", *channels) if channels else []
        return dict(found)

    inbox, other = Inbox(), Inbox()
    assert counts() == {}
    await done(near.subscribe("news", inbox.deliver))
    await done(near.subscribe("news", other.deliver))
    await done(near.subscribe("weather", other.deliver))
    assert counts() == {b"snorky:t:news": 1, b"snorky:t:weather": 1}
    await done(near.unsubscribe("news", inbox.deliver))
    await done(near.unsubscribe("weather", other.deliver))
    async with asyncio.timeout(DEADLINE):
        while counts() != {b"snorky:t:news": 1}:
            await asyncio.sleep(0.01)


async def test_what_no_snorky_has_published_is_dropped(
    valkey: Valkey, near: RedisBroker, expect_log: ExpectLog
) -> None:
    inbox = Inbox()
    await done(near.subscribe("news", inbox.deliver))
    with valkey.client() as client:
        for text in ("hello", "[]", '{"service": 1}'):
            client.execute_command("SPUBLISH", "snorky:t:news", text)
    await done(near.publish("news", Envelope("pubsub", 1)))

    assert await inbox.messages(1) == [1]
    assert expect_log.all("no message of ours") == 3


async def test_a_receiver_that_fails_takes_nothing_from_others(
    near: RedisBroker, expect_log: ExpectLog
) -> None:
    def fail(envelope: Envelope) -> None:
        raise RuntimeError("it is broken")

    inbox = Inbox()
    await done(near.subscribe("news", fail))
    await done(near.subscribe("news", inbox.deliver))
    await done(near.publish("news", Envelope("pubsub", 1)))
    await done(near.publish("news", Envelope("pubsub", 2)))

    assert await inbox.messages(2) == [1, 2]
    assert expect_log.all("Unhandled exception while receiving") == 2


async def test_scripts_that_were_flushed_are_sent_again(valkey: Valkey, near: RedisBroker) -> None:
    log = await opened(near)
    with valkey.client() as client:
        client.script_flush()
    positions = [await done(log.append(number)) for number in range(2)]

    assert [position.seq for position in positions] == [1, 2]


async def test_another_prefix_is_another_snorky(valkey: Valkey, near: RedisBroker) -> None:
    async with running(RedisBroker(f"{valkey.url}?prefix=shop")) as shop:
        inbox = Inbox()
        await done(shop.subscribe("news", inbox.deliver))
        await done(near.publish("news", Envelope("pubsub", 1)))
        await done(near.put("alice", 1, 60))
        assert await done(shop.get("alice")) is None
        await done((await opened(near)).append(1))
        assert (await opened(shop)).head.seq == 0
        assert inbox.is_empty


async def test_it_may_be_stopped_and_started_again(near: RedisBroker) -> None:
    inbox = Inbox()
    await done(near.subscribe("news", inbox.deliver))
    await near.stop()
    for refused in (
        lambda: near.publish("news", Envelope("pubsub", 1)),
        lambda: near.subscribe("weather", inbox.deliver),
        lambda: near.get("alice"),
        lambda: near.put("alice", 1, 60),
        lambda: near.log("orders").append(1),
        lambda: near.log("orders").newest(),
    ):
        with pytest.raises(BrokerUnavailable, match="not started"):
            await done(refused())
    await near.start()
    await back(near)
    await done(near.publish("news", Envelope("pubsub", 2)))

    assert await inbox.messages(1) == [2]


async def test_what_is_too_much_for_one_write_comes_in_several(near: RedisBroker) -> None:
    inbox = Inbox()
    await done(near.subscribe("news", inbox.deliver))
    work = [near.publish("news", Envelope("pubsub", f"{number}" * 90_000)) for number in range(5)]
    for result in work:
        await done(result)
    assert [message[0] for message in await inbox.messages(5)] == list("01234")


async def test_a_start_that_fails_says_so_and_may_be_made_again(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = RedisBroker(valkey.url)
    with monkeypatch.context() as patch:
        patch.setattr(broker._link, "receive", lambda *_: failed(BrokerUnavailable("silence")))
        with pytest.raises(BrokerUnavailable, match="silence"):
            await broker.start()
    async with running(broker):
        await broker.check()


async def test_what_was_accepted_before_it_stops_is_sent(valkey: Valkey, near: RedisBroker) -> None:
    inbox = Inbox()
    await done(near.subscribe("news", inbox.deliver))
    other = RedisBroker(valkey.url)
    await other.start()
    work = [other.publish("news", Envelope("pubsub", number)) for number in range(50)]
    await other.stop()
    for each in work:
        await done(each)

    assert await inbox.messages(50) == list(range(50))


async def test_nothing_more_than_may_be_is_under_way(
    near: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "MAX_UNDER_WAY", 3)
    work = [near.put(str(number), number, 60) for number in range(4)]
    with pytest.raises(BrokerUnavailable, match="3 commands are under way"):
        await done(work[3])
    for each in work[:3]:
        await done(each)


# A log that goes back


async def test_a_server_that_has_lost_the_newest_entries_leads_to_a_new_epoch(
    valkey: Valkey, near: RedisBroker, expect_log: ExpectLog
) -> None:
    """As a replica that was promoted without them."""
    followed = Followed(await opened(near))
    log = followed.log
    await done(log.append("kept"))
    dump = Dump(valkey)
    lease = await done(log.take_lease("shop", 0.05))
    last = await done(log.append("lost", key="a"))
    await until(lambda: log.head == last)
    dump.restore()

    await until(lambda: followed.lost == 1)
    assert log.head.epoch != last.epoch
    again = await done(log.append("again", key="a"))
    assert (again.seq, again.epoch) == (1, log.head.epoch)
    with pytest.raises(FenceOld):
        await done(log.append("late", None, "shop", lease.fence))
    with pytest.raises(PositionLost):
        log.read(last)
    expect_log('Log "orders" does not continue (entries were lost, or it was begun anew)')


async def test_others_having_written_over_what_was_lost_is_noticed(
    valkey: Valkey, near: RedisBroker, expect_log: ExpectLog
) -> None:
    followed = Followed(await opened(near))
    await done(followed.log.append("kept"))
    dump = Dump(valkey)
    last = await done(followed.log.append("lost"))
    await until(lambda: followed.log.head == last)
    dump.restore()
    # By a process that never saw what was lost: the numbers are the same again.
    async with running(RedisBroker(valkey.url)) as other:
        log = other.log("orders")
        await log.start()
        for number in range(3):
            await done(log.append(number))
        await until(lambda: followed.lost == 1)
        await until(lambda: log.head.epoch == followed.log.head.epoch != last.epoch)
    assert "lost" in followed.seen
    assert expect_log.all("does not continue") == 2


async def test_who_was_told_a_position_that_is_lost_hears_of_it_though_he_never_saw_the_entry(
    valkey: Valkey, near: RedisBroker, far: RedisBroker, proxy: Proxy, expect_log: ExpectLog
) -> None:
    followed = Followed(await opened(far))
    await done(followed.log.append("kept"))
    await until(lambda: followed.log.head.seq == 1)
    dump = Dump(valkey)
    # Its connection that follows hears nothing, while it appends over another one.
    followed.log._link, link = near._link, followed.log._link  # type: ignore[attr-defined]
    proxy.swallows = True
    last = await done(followed.log.append("lost"))
    dump.restore()
    followed.log._link = link  # type: ignore[attr-defined]
    proxy.swallows = False
    proxy.cut()

    await until(lambda: followed.lost == 1)
    assert followed.log.head.epoch != last.epoch
    assert followed.seen == ["kept"]
    expect_log.all("is away")
    expect_log("does not continue")


async def test_a_process_that_is_too_far_behind_begins_at_the_head(
    near: RedisBroker, far: RedisBroker, proxy: Proxy, expect_log: ExpectLog
) -> None:
    retention = Retention(entries=3)
    log, followed = await opened(near, retention), Followed(await opened(far, retention))
    await done(log.append("before"))
    await until(lambda: followed.log.head.seq == 1)
    proxy.refuses = True
    proxy.cut()
    for number in range(5):
        last = await done(log.append(number))
    revoked = await done(log.append("revoked", keep=60))
    proxy.refuses = False

    await until(lambda: followed.log.head == revoked)
    assert followed.lost == 1
    assert followed.log.head.epoch == last.epoch
    assert [entry.data for entry in followed.beside] == ["revoked"]
    expect_log.all("is away")
    expect_log("too far behind")


class Dump:
    """All that a server holds, to be put back as a replica would be that lagged behind."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        with valkey.client() as client:
            self._values = {key: client.dump(key) for key in client.keys("snorky:log:*")}

    def restore(self) -> None:
        with self._valkey.client() as client:
            transaction = client.pipeline(transaction=True)
            for key in client.keys("snorky:log:*"):
                transaction.delete(key)
            for key, value in self._values.items():
                transaction.restore(key, 0, value)
            transaction.execute()


async def test_what_waits_to_be_sent_is_bounded_in_bytes() -> None:
    connection = asyncio.get_running_loop().create_future()
    waiting = pipe.Pipe(lambda: connection, 1, lambda error: None)
    half = bytes(pipe.MAX_UNDER_WAY_BYTES // 2 + 1)
    first = waiting.call("SET", b"a", half)
    with pytest.raises(BrokerUnavailable, match="67108864 bytes are under way already"):
        await waiting.call("SET", b"b", half)
    assert not waiting.call("SET", b"b", b"small").done()
    connection.set_exception(OSError("refused"))
    with pytest.raises(BrokerUnavailable):
        await waiting.start()
    await waiting.stop()
    assert first.exception()
    assert waiting._bytes == 0
