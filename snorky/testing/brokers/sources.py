"""What every log promises to those who append for a source: leases, fences, places and passes."""

import asyncio
from time import monotonic
from typing import Any

import pytest

from snorky.brokers import Append, Broker, FenceOld, LeaseHeld
from snorky.testing.brokers.log import DEADLINE, done, opened, told, until


class SourceContract:
    """Part of ``BrokerContract``, which has the fixtures."""

    async def test_one_holds_the_lease_of_a_source(self, here: Broker, there: Broker) -> None:
        log, other = await opened(here), await opened(there)
        lease = await done(log.take_lease("shop", 0.3))
        assert lease.place is None
        with pytest.raises(LeaseHeld):
            await done(other.take_lease("shop", 0.3))
        billing = await done(other.take_lease("billing", 10))
        assert billing.fence != lease.fence

        running = await done(log.leases())
        assert running.keys() == {"shop", "billing"}
        assert 0 < running["shop"] <= 0.3

    async def test_a_lease_that_lapsed_can_be_taken(self, here: Broker, there: Broker) -> None:
        log = await opened(here)
        old = await done(log.take_lease("shop", 0.05))
        new = await take_lease(there, "shop", 10)

        assert old.fence != new.fence
        head = log.head
        for refused in (
            lambda: log.append(1, "a", "shop", old.fence),
            lambda: log.append_step([Append(1, "b")], "shop", old.fence, "place"),
            lambda: log.renew_lease("shop", old.fence),
        ):
            with pytest.raises(FenceOld):
                await done(refused())
        assert (await done(log.append(1, "a", "shop", new.fence))).seq == head.seq + 1

    async def test_a_lapsed_lease_that_nobody_took_is_renewed_by_its_fence(
        self, here: Broker
    ) -> None:
        log = await opened(here)
        lease = await done(log.take_lease("shop", DEADLINE / 20))
        await lapsed(here, "shop")
        await done(log.append(1, None, "shop", lease.fence))

        assert "shop" in await done(log.leases())

    async def test_who_knows_the_fence_takes_over_a_lease_that_runs(
        self, here: Broker, there: Broker
    ) -> None:
        log, other = await opened(here), await opened(there)
        old = await done(log.take_lease("shop", 10))
        with pytest.raises(LeaseHeld):
            await done(other.take_lease("shop", 10, "another"))
        new = await done(other.take_lease("shop", 10, old.fence))

        assert new.fence != old.fence
        with pytest.raises(FenceOld):
            await done(log.append(1, "a", "shop", old.fence))
        with pytest.raises(LeaseHeld):
            await done(log.take_lease("shop", 10, old.fence))

    async def test_everything_accepted_renews_the_lease(self, here: Broker) -> None:
        log = await opened(here)
        lease = await done(log.take_lease("shop", 10))
        for renew in (
            lambda: log.append(1, "a", "shop", lease.fence),
            lambda: log.append(1, "a", "shop", lease.fence),  # appends nothing
            lambda: log.append_step([], "shop", lease.fence),
            lambda: log.renew_lease("shop", lease.fence),
        ):
            await asyncio.sleep(0.02)
            began = monotonic()
            await done(renew())
            left = (await done(log.leases()))["shop"]
            assert left > 10 - (monotonic() - began) - 0.01

    @pytest.mark.parametrize("fence", ["", "1", "made up"])
    async def test_a_fence_that_was_not_given_out_is_refused(
        self, here: Broker, fence: str
    ) -> None:
        log = await opened(here)
        with pytest.raises(FenceOld):
            await done(log.append(1, None, "shop", fence))
        await done(log.take_lease("shop", 10))
        for wrong in (fence, None):
            with pytest.raises(FenceOld):
                await done(log.append(1, None, "shop", wrong))
        assert log.head.seq == 0

    async def test_a_place_is_stored_with_its_entries(self, here: Broker, there: Broker) -> None:
        log = await opened(here)
        lease = await done(log.take_lease("shop", 0.05))
        await done(log.append_step([Append(1), Append(2)], "shop", lease.fence, {"id": [7]}))
        await done(log.append_step([Append(3)], "shop", lease.fence))
        taken = await take_lease(there, "shop", 0.05)
        assert taken.place == {"id": [7]}

        await done((await opened(there)).append_step([], "shop", taken.fence, None))
        assert (await take_lease(here, "shop", 10)).place is None

    async def test_a_step_is_appended_whole_and_in_order(self, here: Broker) -> None:
        log = await opened(here)
        start = log.head
        lease = await done(log.take_lease("shop", 10))
        step = [Append(number, str(number)) for number in range(3)]
        positions = await done(log.append_step(step, "shop", lease.fence))
        await until(lambda: log.head == positions[-1])
        assert told(log.read(start)) == list(zip(positions, range(3), strict=True))

        longer = [*step, Append(3, "3")]
        again = await done(log.append_step(longer, "shop", lease.fence))
        assert again[:3] == positions
        await until(lambda: log.head == again[3])
        assert [entry.data for entry in log.read(start)] == [0, 1, 2, 3]

    async def test_a_step_with_a_fault_changes_nothing(self, here: Broker) -> None:
        log = await opened(here)
        lease = await done(log.take_lease("shop", 0.05))
        with pytest.raises((TypeError, ValueError)):
            await done(
                log.append_step([Append(1, "a"), Append(object())], "shop", lease.fence, "place")
            )
        assert log.head.seq == 0
        assert (await take_lease(here, "shop", 10)).place is None

    # Passes

    async def test_passes_are_counted_for_each_source(self, here: Broker, there: Broker) -> None:
        log, other = await opened(here), await opened(there)
        assert await done(log.ask("shop")) == 1
        assert await done(other.ask("shop")) == 2
        assert await done(log.ask("billing")) == 1
        assert await done(other.asked("shop", 1, DEADLINE)) == 2

    async def test_the_next_who_asks_is_waited_for(self, here: Broker, there: Broker) -> None:
        log, other = await opened(here), await opened(there)
        waiting = asyncio.ensure_future(_awaitable(log.asked("shop", 0, DEADLINE)))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await done(other.ask("shop"))
        async with asyncio.timeout(DEADLINE):
            assert await waiting == 1

    async def test_nobody_is_waited_for_longer_than_the_timeout(self, here: Broker) -> None:
        log = await opened(here)
        await done(log.ask("shop"))
        async with asyncio.timeout(DEADLINE):
            assert await done(log.asked("shop", 1, 0.02)) == 1


async def _awaitable(result: Any) -> Any:
    return await done(result)


async def lapsed(broker: Broker, source: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while source in await done((await opened(broker)).leases()):
            await asyncio.sleep(0.005)


async def take_lease(broker: Broker, source: str, seconds: float) -> Any:
    await lapsed(broker, source)
    return await done((await opened(broker)).take_lease(source, seconds))
