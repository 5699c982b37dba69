"""The low-water mark: which numbers may still come."""

from __future__ import annotations

from snorky.backend.outbox.missing import MOST_RANGES, LowWater


def ranges(mark: LowWater) -> list[tuple[int, int]]:
    return list(zip(*mark.ranges, strict=True))


def test_numbers_that_were_passed_over_are_looked_for_until_their_transactions_ended() -> None:
    mark = LowWater()
    mark.saw([(3, 4), (7, 7)], oldest=90, newest=100, given_out=7)
    assert (mark.newest, ranges(mark)) == (7, [(1, 2), (5, 6)])
    mark.saw([(5, 5), (8, 8)], oldest=95, newest=110, given_out=8)
    assert (mark.newest, ranges(mark)) == (8, [(1, 2), (6, 6)])
    mark.saw([], oldest=100, newest=110, given_out=8)
    assert ranges(mark) == []
    assert mark.low == 8


def test_numbers_that_were_given_out_before_the_snapshot_count_without_being_seen() -> None:
    mark = LowWater()
    mark.saw([], oldest=90, newest=100, given_out=5)
    assert (mark.newest, ranges(mark)) == (0, [])
    mark.saw([], oldest=90, newest=101, given_out=5)
    assert (mark.newest, ranges(mark)) == (5, [(1, 5)])
    assert mark.low == 0
    mark.saw([(2, 3)], oldest=101, newest=101, given_out=5)
    assert ranges(mark) == []


def test_ranges_are_bounded() -> None:
    mark = LowWater()
    last = 4 * MOST_RANGES
    mark.saw([(number, number) for number in range(2, last, 2)], 1, 5, last)
    found = ranges(mark)
    assert len(found) <= MOST_RANGES
    assert found[0][0] == 1
    assert found[-1][1] == last - 3
    assert mark.expects(60)
    assert not mark.expects(-1)
