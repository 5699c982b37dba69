"""The window that a process keeps of a log, as an engine uses it."""

import time
from typing import Any

import pytest

from snorky.brokers import Entry, Position, PositionLost, Retention
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
