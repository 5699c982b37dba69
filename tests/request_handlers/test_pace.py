"""Messages that came together are handled in turns, one request after the other."""

from __future__ import annotations

import asyncio
import time

from snorky.edges.pace import SECONDS_PER_TURN, Pace
from snorky.limits import Limits
from tests.patience import patient


def work(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def handle(pace: Pace, turns: list[int], now: list[int], messages: int) -> None:
    for _ in range(messages):
        turns.append(now[0])
        work(SECONDS_PER_TURN)
        await pace.message_done()


async def count_turns(now: list[int]) -> None:
    while True:
        now[0] += 1
        await asyncio.sleep(0)


async def test_requests_that_come_together_hold_nobody_up_longer_than_one() -> None:
    turns: list[int] = []
    now = [0]
    counting = asyncio.create_task(count_turns(now))
    await asyncio.gather(*(handle(Pace(Limits()), turns, now, 10) for _ in range(10)))
    counting.cancel()
    first, rest = turns[:10], turns[10:]
    assert len(turns) == 100
    assert len(set(first)) <= 2  # all begin at once
    assert max(rest.count(turn) for turn in set(rest)) == 1


async def test_a_turn_has_a_number_of_messages_too() -> None:
    pace = Pace(Limits(max_messages_per_turn=3))
    assert [pace.is_up() for _ in range(3)] == [False, False, True]
    await pace.next_turn()
    assert [pace.is_up() for _ in range(3)] == [False, False, True]


async def test_who_is_cancelled_while_others_wait_holds_up_nobody() -> None:
    paces = [Pace(Limits()) for _ in range(3)]
    waiting = [asyncio.create_task(pace.next_turn()) for pace in paces]
    await asyncio.sleep(0)
    for task in waiting[:2]:
        task.cancel()
    async with asyncio.timeout(patient(5)):
        await waiting[2]
