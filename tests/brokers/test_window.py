"""The window that a process keeps of a log, as an engine uses it."""

import asyncio
import time
from typing import Any

import pytest

from snorky.brokers import Entry, Position, PositionLost, Retention
from snorky.brokers.connecting import first_fault
from snorky.brokers.memory import MemoryLog


def entry(seq: int, epoch: str = "a", at: float | None = None) -> Entry:
    position = Position(epoch, seq, f"n{seq}")
    return Entry(position, b"%d" % seq, time.time() if at is None else at)


@pytest.fixture
def window() -> MemoryLog:
    return MemoryLog(Retention(seconds=60), time.monotonic)


def test_a_process_that_comes_late_is_filled_with_what_the_engine_keeps(window: MemoryLog) -> None:
    told: list[Any] = []
    window.follow(told.append)
    first = Position("a", 4, "n4")
    window.fill(first, [entry(5), entry(6)], Position("a", 6, "n6"))

    assert [each.data for each in window.read(first)] == [5, 6]
    assert told == []
    window.push(entry(7))
    assert [each.data for each in told] == [7]


def test_the_age_of_what_it_is_filled_with_counts(window: MemoryLog) -> None:
    old = time.time() - 61
    window.fill(Position("a", 4, "n4"), [entry(5, at=old), entry(6)], Position("a", 6, "n6"))

    assert window.first == Position("a", 5, "n5")


def test_another_epoch_tells_those_who_follow_that_they_lost(window: MemoryLog) -> None:
    lost: list[Any] = []
    trimmed: list[Any] = []
    head = window.head
    window.push(entry(1, head.epoch))
    window.follow(lambda each: None, lambda beside: lost.append((window.head.seq, beside)))
    window.follow(lambda each: None)
    window.on_trim(trimmed.append)
    beside = [entry(7, "b")]
    window.restart(Position("b", 9, "n9"), beside)

    assert lost == [(9, beside)]
    assert [each.data for each in trimmed] == [1]
    assert window.bytes_kept == 0
    with pytest.raises(PositionLost):
        window.read(head)
    window.push(entry(10, "b"))
    assert [each.data for each in window.read(Position("b", 9, "n9"))] == [10]


def test_what_is_noted_beside_an_old_entry_counts_to_the_older_half() -> None:
    window = MemoryLog(Retention(bytes=10, seconds=60), time.monotonic)
    start = window.head
    for number in range(6):
        window.append(number)
    assert window.halfway == 1
    window.charge(window.read(start)[0].position, 4)
    assert (window.bytes_kept, window.halfway) == (10, 1)


def test_an_entry_is_equal_to_what_is_the_same_and_shows_itself() -> None:
    assert entry(1) == entry(1, at=0.0)
    assert entry(1) != entry(1, epoch="b")
    assert entry(1) != 1
    assert repr(entry(7)) == "Entry(a.7.n7, b'7')"


async def test_a_fault_of_our_own_is_told_from_a_lost_connection(expect_log: Any) -> None:
    async def fail(fault: Exception) -> None:
        raise fault

    for fault in (OSError("gone"), KeyError("ours")):
        assert await first_fault([fail(fault), asyncio.sleep(60)], (OSError,)) is fault
    expect_log("Unhandled exception in a broker")
