"""What every log promises, as one suite; part of the suite of its broker."""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from snorky.brokers import (
    Append,
    Broker,
    Entry,
    EntryTooLarge,
    Log,
    Position,
    PositionLost,
    Retention,
)
from snorky.brokers.log import KEYS_PER_SOURCE

DEADLINE = 5.0 * float(os.environ.get("SNORKY_TEST_PATIENCE", "1"))
"""Seconds after which what must happen has not."""


async def done(result: Any) -> Any:
    """What a method of a broker returns: at once, or after a while."""
    return await result if inspect.isawaitable(result) else result


class Inbox:
    """Receives publications or entries; ``next`` waits for one."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[Any] = asyncio.Queue()

    def deliver(self, item: Any) -> None:
        self._received.put_nowait(item)

    async def next(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return await self._received.get()

    async def messages(self, count: int) -> list[Any]:
        return [(await self.next())["message"] for _ in range(count)]

    @property
    def is_empty(self) -> bool:
        return self._received.empty()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a broker of several processes makes true a little later."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


async def opened(
    broker: Broker, retention: Retention | None = None, *, name: str = "orders"
) -> Log:
    """A log of this process, which follows."""
    log = broker.log(name, retention)
    await log.start()
    return log


def told(entries: Iterable[Entry]) -> list[tuple[Position, Any]]:
    return [(entry.position, entry.data) for entry in entries]


class LogContract:
    """Subclass it, by way of ``BrokerContract``, and override the fixture ``joined``."""

    @pytest.fixture
    def joined(self) -> tuple[Broker, Broker]:
        """Two brokers that were started; may be asynchronous, and stop them afterwards."""
        raise NotImplementedError

    @pytest.fixture
    def here(self, joined: tuple[Broker, Broker]) -> Broker:
        return joined[0]

    @pytest.fixture
    def there(self, joined: tuple[Broker, Broker]) -> Broker:
        return joined[1]

    async def test_a_log_counts_its_entries_from_one(self, here: Broker) -> None:
        log = await opened(here)
        start = log.head
        assert (start.seq, start.nonce) == (0, "")

        first = await done(log.append({"total": 1}))
        second = await done(log.append(["größer", None]))

        assert [position.seq for position in (first, second)] == [1, 2]
        assert {position.epoch for position in (start, first, second)} == {start.epoch}
        assert first.nonce != second.nonce
        await until(lambda: log.head == second)

    async def test_every_process_reads_the_same_entries(self, here: Broker, there: Broker) -> None:
        log, other = await opened(here), await opened(there)
        start = other.head
        positions = [await done(log.append(number)) for number in range(5)]
        await until(lambda: log.head == other.head == positions[-1])

        for each in (log, other):
            assert told(each.read(start)) == list(zip(positions, range(5), strict=True))
            assert told(each.read(positions[2])) == [(positions[3], 3), (positions[4], 4)]
            assert told(each.read(start, limit=2)) == [(positions[0], 0), (positions[1], 1)]
            assert told(each.read(positions[4])) == []

    async def test_the_newest_position_is_everybody_s(self, here: Broker, there: Broker) -> None:
        log, other = await opened(here), await opened(there)
        assert await done(other.newest()) == log.head
        for number in range(3):
            position = await done(log.append(number))
            assert await done(other.newest()) == position

    async def test_logs_of_different_names_are_different_logs(self, here: Broker) -> None:
        orders, visits = await opened(here), await opened(here, name="visits")
        start = visits.head
        await done(orders.append(1))

        assert list(visits.read(start)) == []
        assert await opened(here) is orders

    async def test_whoever_follows_a_log_sees_every_entry_once_and_in_order(
        self, here: Broker, there: Broker
    ) -> None:
        inbox = Inbox()
        log, other = await opened(here), await opened(there)
        await done(log.append("before"))
        await until(lambda: other.head.seq == 1)
        other.follow(inbox.deliver)
        work = [log.append(number) for number in range(100)]
        positions = [await done(result) for result in work]

        entries = [await inbox.next() for _ in range(100)]
        assert told(entries) == [(position, n) for n, position in enumerate(positions)]
        assert [entry.position.seq for entry in entries] == list(range(2, 102))

    async def test_what_one_follows_can_be_read_at_once(self, here: Broker) -> None:
        """Who catches up reads to the head and follows from there, without a gap."""
        log = await opened(here)
        start = log.head
        seen: asyncio.Queue[list[int]] = asyncio.Queue()

        def deliver(entry: Entry) -> None:
            assert log.head == entry.position
            seen.put_nowait([kept.data for kept in log.read(start)])

        log.follow(deliver)
        for number in range(3):
            await done(log.append(number))

        async with asyncio.timeout(DEADLINE):
            assert [await seen.get() for _ in range(3)] == [[0], [0, 1], [0, 1, 2]]

    async def test_following_ends(self, here: Broker) -> None:
        log = await opened(here)
        inbox, witness = Inbox(), Inbox()
        end = log.follow(inbox.deliver)
        log.follow(witness.deliver)
        await done(log.append(1))
        assert (await inbox.next()).data == 1
        end()
        await done(log.append(2))

        assert [(await witness.next()).data for _ in range(2)] == [1, 2]
        assert inbox.is_empty

    async def test_the_same_key_again_appends_nothing(self, here: Broker, there: Broker) -> None:
        inbox = Inbox()
        log, other = await opened(here), await opened(there)
        log.follow(inbox.deliver)
        first = await done(log.append(1, key="a"))
        again = await done(other.append(2, key="a"))
        last = await done(other.append(3, key="b"))

        assert again == first
        assert [(await inbox.next()).data for _ in range(2)] == [1, 3]
        await until(lambda: log.head == last)
        assert last.seq == 2

    async def test_the_oldest_entries_go_first(self, here: Broker) -> None:
        log = await opened(here, Retention(entries=3))
        start = log.head
        positions = [await done(log.append(number, key=str(number))) for number in range(5)]
        await until(lambda: log.head == positions[-1])

        assert [entry.data for entry in log.read(positions[1])] == [2, 3, 4]
        assert log.first == positions[1]
        for lost in (start, positions[0]):
            with pytest.raises(PositionLost):
                log.read(lost)

    async def test_a_log_is_bounded_in_bytes(self, here: Broker) -> None:
        log = await opened(here, Retention(bytes=1000))
        positions = [await done(log.append(f"{number}" + "x" * 300)) for number in range(5)]
        await until(lambda: log.head == positions[-1])

        with pytest.raises(PositionLost):
            log.read(positions[0])
        assert [entry.data[0] for entry in log.read(positions[3])] == ["4"]

    async def test_a_position_of_another_life_of_the_log_is_lost(self, here: Broker) -> None:
        log = await opened(here)
        first = await done(log.append(1))
        second = await done(log.append(2))
        await until(lambda: log.head == second)

        for wrong in (
            Position("another epoch", 0, ""),
            first._replace(epoch="another epoch"),
            first._replace(nonce="another"),
            second._replace(nonce="another"),
            second._replace(seq=3),
        ):
            with pytest.raises(PositionLost):
                log.read(wrong)

    async def test_what_cannot_be_encoded_is_not_appended(self, here: Broker) -> None:
        log = await opened(here)
        head = log.head

        with pytest.raises((TypeError, ValueError)):
            await done(log.append(object(), key="a"))
        assert log.head == head
        assert (await done(log.append(1, key="a"))).seq == 1

    async def test_what_is_read_can_be_a_key(self, here: Broker) -> None:
        log = await opened(here)
        start = log.head
        position = await done(log.append({"rows": [{"id": [1]}]}))
        await until(lambda: log.head == position)
        (entry,) = log.read(start)

        assert {entry.data: 1, entry.data["rows"][0]["id"]: 2}

    async def test_an_entry_may_be_so_large_and_no_larger(self, here: Broker) -> None:
        log = await opened(here, Retention(entry_bytes=100))
        lease = await done(log.take_lease("shop", 10))
        assert (await done(log.append("x" * 98, key="a"))).seq == 1
        for refused in (
            lambda: log.append("x" * 99, key="b"),
            lambda: log.append_step([Append(1, "c"), Append("x" * 99)], "shop", lease.fence),
        ):
            with pytest.raises(EntryTooLarge):
                await done(refused())
        assert (await done(log.append(1, key="b"))).seq == 2
        assert (await done(log.append(1, "c", "shop", lease.fence))).seq == 3

    # Positions as text

    async def test_a_position_travels_as_text(self, here: Broker) -> None:
        log = await opened(here)
        for position in (log.head, await done(log.append(1))):
            assert Position.parse(str(position)) == position

    @pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", ".1.", "a.-1.c", "a.1.c.d", 5, None])
    def test_any_other_text_is_no_position(self, text: Any) -> None:
        with pytest.raises(ValueError, match="expected a position"):
            Position.parse(text)

    # Keys

    async def test_a_key_outlives_its_entry(self, here: Broker, there: Broker) -> None:
        log = await opened(here, Retention(entries=3))
        positions = [await done(log.append(number, key=str(number))) for number in range(6)]
        await until(lambda: log.head == positions[-1])
        with pytest.raises(PositionLost):
            log.read(positions[0])

        assert await done((await opened(there)).append(9, key="0")) == positions[0]
        assert (await done(log.append(9, key="6"))).seq == 7

    async def test_each_source_has_keys_of_its_own(self, here: Broker) -> None:
        log = await opened(here)
        by_hand = await done(log.append(1, key="a"))
        lease = await done(log.take_lease("shop", 10))
        shop = await done(log.append(2, "a", "shop", lease.fence))

        assert (by_hand.seq, shop.seq) == (1, 2)
        assert await done(log.append(3, key="a")) == by_hand
        assert await done(log.append(3, "a", "shop", lease.fence)) == shop

    async def test_the_keys_of_the_newest_entries_are_remembered(self, here: Broker) -> None:
        log = await opened(here)
        lease = await done(log.take_lease("shop", 100))
        first = await done(log.append(0, "first", "shop", lease.fence))
        others = [Append(number, f"key {number}") for number in range(KEYS_PER_SOURCE - 1)]
        for start in range(0, len(others), 500):
            await done(log.append_step(others[start : start + 500], "shop", lease.fence))
        # What other sources append does not count.
        await done(log.append("by hand", key="x"))
        assert await done(log.append(0, "first", "shop", lease.fence)) == first

        await done(log.append("one more", "one more", "shop", lease.fence))
        again = await done(log.append(0, "first", "shop", lease.fence))
        assert again.seq > first.seq

    # Beside the log

    async def test_what_is_kept_beside_the_log_outlives_trimming(
        self, here: Broker, there: Broker
    ) -> None:
        retention = Retention(entries=1)
        log, other = await opened(here, retention), await opened(there, retention)
        first = await done(log.append("revoked", keep=60))
        await done(log.append("gone soon", keep=0.02))
        for number in range(5):
            last = await done(log.append(number))
        await until(lambda: other.head == last)
        await asyncio.sleep(0.03)

        for one in (log, other):
            assert told(await done(one.kept_beside())) == [(first, "revoked")]

    # A process that comes later

    async def test_who_comes_later_reads_what_is_kept_and_is_not_told_of_it(
        self, here: Broker, there: Broker
    ) -> None:
        log = await opened(here, Retention(entries=3), name="visits")
        positions = [await done(log.append(number)) for number in range(5)]
        await until(lambda: log.head == positions[-1])

        other = there.log("visits", Retention(entries=3))
        inbox = Inbox()
        other.follow(inbox.deliver)
        await other.start()

        assert (other.first, other.head) == (positions[1], positions[4])
        assert told(other.read(positions[1])) == list(zip(positions[2:], range(2, 5), strict=True))
        assert inbox.is_empty
        await done(log.append("next"))
        assert (await inbox.next()).data == "next"

    async def test_starting_again_changes_nothing(self, here: Broker) -> None:
        log = await opened(here)
        inbox = Inbox()
        log.follow(inbox.deliver)
        await log.start()
        await done(log.append(1))
        last = await done(log.append(2))

        assert [(await inbox.next()).data for _ in range(2)] == [1, 2]
        assert log.head == last
        assert inbox.is_empty

    async def test_a_process_that_follows_is_not_behind(self, here: Broker) -> None:
        log = await opened(here)
        last = await done(log.append(1))
        await until(lambda: log.head == last)

        assert log.lag < 1

    async def test_work_that_nobody_waits_for_is_done(self, here: Broker, there: Broker) -> None:
        log, other = await opened(here), await opened(there)
        for number in range(3):
            log.append(number)
        await until(lambda: other.head.seq == 3)

        assert [entry.data for entry in other.read(other.first)] == [0, 1, 2]

    # A process's own window

    async def test_the_window_tells_what_leaves_it(self, here: Broker) -> None:
        log = await opened(here, Retention(entries=2))
        left: list[Any] = []
        log.on_trim(lambda entry: left.append(entry.data))
        positions = [await done(log.append(number)) for number in range(5)]
        await until(lambda: log.head == positions[-1])

        assert left == [0, 1, 2]
        assert log.first == positions[2]

    async def test_what_is_noted_beside_an_entry_counts(self, here: Broker) -> None:
        log = await opened(here, Retention(bytes=1000))
        positions = [await done(log.append(number)) for number in range(3)]
        await until(lambda: log.head == positions[-1])
        assert log.bytes_kept == 3
        log.charge(positions[2], 500)
        assert (log.bytes_kept, log.first.seq) == (503, 0)

        log.charge(positions[1], 600)
        assert (log.bytes_kept, log.first) == (501, positions[1])
        log.charge(positions[0], 600)  # it has left
        assert log.bytes_kept == 501

    async def test_the_older_half_is_counted_in_bytes(self, here: Broker) -> None:
        log = await opened(here, Retention(bytes=1000))
        assert log.halfway == 0
        for _ in range(9):
            last = await done(log.append("x" * 98))
        await until(lambda: log.head == last)
        assert log.halfway == 4
