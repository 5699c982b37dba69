"""What a broker with a server of its own promises while that is away, and when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import pytest

from snorky.brokers import Append, Broker, BrokerUnavailable, Entry, FenceOld, Log
from snorky.envelope import Envelope
from snorky.testing.brokers import BrokerContract
from snorky.testing.brokers.log import DEADLINE, Inbox, done, opened, until
from snorky.testing.brokers.sources import take_lease


class Engine(Protocol):
    """A server that a test stops and starts; both return when it is done."""

    def stop(self) -> None: ...
    def start(self) -> None: ...


class EngineContract(BrokerContract):
    """Subclass it in the place of ``BrokerContract``, and override ``engine``, too.

    Brokers of ``joined`` should believe after half a second that a server does not answer.
    """

    keeps_data: ClassVar[bool] = True
    """Whether the engine of the tests has its data after it was stopped and started."""

    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def away_is_logged(self) -> None:
        """Used by every test whose engine goes away: may take the lines that the log gets."""

    async def test_publications_are_refused_while_the_engine_is_away_and_go_on_afterwards(
        self, here: Broker, there: Broker, engine: Engine, away_is_logged: None
    ) -> None:
        inbox = Inbox()
        await done(there.subscribe("news", inbox.deliver))
        await asyncio.to_thread(engine.stop)
        here.publish("news", Envelope("pubsub", "dropped"))
        for number in range(3):
            with pytest.raises(BrokerUnavailable):
                await done(here.publish("news", Envelope("pubsub", number)))
        for broker in (here, there):
            with pytest.raises(BrokerUnavailable):
                await broker.check()

        await asyncio.to_thread(engine.start)
        await back(here)
        await back(there)
        await done(here.publish("news", Envelope("pubsub", "again")))
        assert await inbox.messages(1) == ["again"]
        assert inbox.is_empty

    async def test_nothing_is_claimed_or_kept_while_the_engine_is_away(
        self, here: Broker, engine: Engine, away_is_logged: None
    ) -> None:
        await asyncio.to_thread(engine.stop)
        for refused in (
            lambda: here.claim("token", 60),
            lambda: here.put("alice", 1, 60),
            lambda: here.get("alice"),
            lambda: here.delete("alice"),
        ):
            with pytest.raises(BrokerUnavailable):
                await done(refused())

        await asyncio.to_thread(engine.start)
        await back(here)
        assert await done(here.claim("token", 60)) is True
        assert await done(here.get("alice")) is None

    async def test_a_log_goes_on_when_the_engine_is_back_or_tells_that_entries_were_lost(
        self, here: Broker, there: Broker, engine: Engine, away_is_logged: None
    ) -> None:
        followed = [Followed(await opened(broker)) for broker in (here, there)]
        log = here.log("orders")
        before = await done(log.append("before", key="a"))
        await until(lambda: all(each.log.head == before for each in followed))
        await asyncio.to_thread(engine.stop)
        with pytest.raises(BrokerUnavailable):
            await done(log.append("during", key="b"))

        await asyncio.to_thread(engine.start)
        await back(here)
        if self.keeps_data:
            # With the same key, since nobody knows what became of the first attempt.
            after = await done(log.append("during", key="b"))
            assert await done(log.append("during", key="b")) == after
            await until(lambda: all(each.log.head == after for each in followed))
            assert after.seq == before.seq + 1
            assert [each.seen for each in followed] == [["before", "during"]] * 2
        else:
            await until(lambda: all(each.lost for each in followed))
            after = await done(log.append("during", key="b"))
            await until(lambda: all(each.log.head == after for each in followed))
            assert [each.seen for each in followed] == [["before", "during"]] * 2
            assert after.epoch != before.epoch
        assert [each.lost for each in followed] == [int(not self.keeps_data)] * 2
        await until(lambda: all(each.log.lag < 1 for each in followed))

    async def test_fences_and_places_live_as_long_as_the_log(
        self, here: Broker, engine: Engine, away_is_logged: None
    ) -> None:
        log = await opened(here)
        lease = await done(log.take_lease("shop", 0.05))
        await done(log.append_step([Append(1, "a")], "shop", lease.fence, "place"))
        await asyncio.to_thread(engine.stop)
        with pytest.raises(BrokerUnavailable):
            await done(log.append_step([Append(2, "b")], "shop", lease.fence, "later"))

        await asyncio.to_thread(engine.start)
        await back(here)
        if self.keeps_data:
            await done(log.append_step([Append(2, "b")], "shop", lease.fence, "later"))
            assert (await take_lease(here, "shop", 10)).place == "later"
        else:
            with pytest.raises(FenceOld):
                await done(log.append_step([Append(2, "b")], "shop", lease.fence, "later"))
            assert (await take_lease(here, "shop", 10)).place is None

    async def test_a_process_is_behind_while_the_engine_is_away(
        self, here: Broker, engine: Engine, away_is_logged: None
    ) -> None:
        log = await opened(here)
        await done(log.append(1))
        await asyncio.to_thread(engine.stop)
        await until(lambda: log.lag > 1)

        await asyncio.to_thread(engine.start)
        await until(lambda: log.lag < 1)


class Followed:
    """A log, what was seen of it, and how often it was lost."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.seen: list[Any] = []
        self.lost = 0
        self.beside: Sequence[Entry] = ()
        log.follow(lambda entry: self.seen.append(entry.data), self._lost)

    def _lost(self, beside: Sequence[Entry]) -> None:
        self.lost += 1
        self.beside = beside


async def back(broker: Broker) -> None:
    """Wait until a broker has come back by itself."""
    await succeeds(broker.check)


async def succeeds(attempt: Callable[[], Any]) -> Any:
    """Try until the broker is there."""
    async with asyncio.timeout(2 * DEADLINE):
        while True:
            try:
                return await done(attempt())
            except BrokerUnavailable:
                await asyncio.sleep(0.02)
