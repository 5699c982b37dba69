"""Processes of one service: they hear of each other, ask each other, and notice who has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from snorky.brokers.memory import MemoryBroker
from snorky.processes import BEAT_SECONDS, GONE_SECONDS, Processes
from snorky.services.base import RPCError
from tests.conftest import ExpectLog
from tests.lines import until
from tests.one_engine import Connection

BEAT = 0.02
GONE = 0.3


class Process(Processes):
    def __init__(self, engine: MemoryBroker) -> None:
        self.connection = Connection(engine)
        super().__init__("chat", self.connection, beat=BEAT, gone=GONE)
        self.gone: list[str] = []
        self.on_gone = self.gone.append

    def die(self) -> None:
        """As a process does that is killed: without a word."""
        assert self._timer is not None
        self._timer.cancel()
        self.connection.cut = True


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    engine = MemoryBroker()
    three = [Process(engine) for _ in range(3)]
    for each in three:
        await each.start()
    await until(lambda: all(len(each.others) == 2 for each in three))
    yield three
    for each in three:
        each.connection.cut = False
        await each.stop()


async def test_processes_hear_of_each_other(processes: list[Process]) -> None:
    first, second, third = processes
    assert set(first.others) == {second.id, third.id}


async def test_who_stops_says_so(processes: list[Process]) -> None:
    first, second, third = processes
    await third.stop()
    await until(lambda: first.gone == [third.id] and second.gone == [third.id])
    assert first.others == [second.id]
    await third.start()
    await until(lambda: third.id in first.others)


async def test_who_was_killed_is_noticed(processes: list[Process]) -> None:
    first, second, third = processes
    third.die()
    await until(lambda: first.gone == [third.id] and second.gone == [third.id])


def test_who_was_killed_has_gone_within_thirty_seconds() -> None:
    assert GONE_SECONDS + BEAT_SECONDS <= 30  # it is noticed at the next beat


async def test_who_is_cut_off_takes_nobody_for_gone_and_is_heard_again(
    processes: list[Process],
) -> None:
    first, second, third = processes
    third.connection.cut = True
    await until(lambda: first.gone == [third.id])
    assert third.gone == []
    third.connection.cut = False
    await until(lambda: third.id in first.others and third.id in second.others)
    assert third.gone == []
    assert set(third.others) == {first.id, second.id}


async def test_all_are_asked_at_once_and_the_own_answer_is_first(
    processes: list[Process],
) -> None:
    for number, each in enumerate(processes):
        each.answers["number"] = lambda params, number=number: [number, params]
    answers = await _awaited(processes[1].ask_all("number", "x"))
    assert answers[0] == [1, "x"]
    assert sorted(answers) == [[0, "x"], [1, "x"], [2, "x"]]


async def test_answers_may_take_their_time_and_may_be_refusals(processes: list[Process]) -> None:
    async def slowly(params: Any) -> str:
        await asyncio.sleep(0)
        return "done"

    def refuse(params: Any) -> None:
        raise RPCError("Not here")

    first, second, _ = processes
    second.answers["slow"] = slowly
    second.answers["refuse"] = refuse
    assert await first.ask(second.id, "slow", None) == "done"
    with pytest.raises(RPCError, match="Not here"):
        await first.ask(second.id, "refuse", None)
    with pytest.raises(RPCError, match="Not here"):
        await _awaited(first.ask_all("refuse", None))
    with pytest.raises(LookupError):
        await first.ask("nobody", "slow", None)


async def test_it_may_ask_itself_and_what_fails_is_logged_where_it_failed(
    processes: list[Process], expect_log: ExpectLog
) -> None:
    first, second, _ = processes

    def fail(params: Any) -> None:
        raise ValueError("broken")

    first.answers["double"] = lambda params: params * 2
    second.answers["fail"] = fail
    assert await first.ask(first.id, "double", 4) == 8
    with pytest.raises(RPCError, match="Internal error"):
        await first.ask(second.id, "fail", None)
    expect_log("asked for fail by another process")


async def test_an_answer_that_nobody_waits_for_is_dropped(processes: list[Process]) -> None:
    first, second, third = processes
    for each in processes:
        each.answers["id"] = lambda params, each=each: each.id
    asked = first._question([second.id])
    for process in (third.id, second.id, second.id):
        asked.take(process, {"value": process})
    assert asked.answers == [second.id]
    del first._asked[asked.number]


async def test_who_stops_while_it_is_cut_off_just_goes(processes: list[Process]) -> None:
    first, _, third = processes
    third.connection.cut = True
    await third.stop()
    await until(lambda: first.gone == [third.id])
    third.connection.cut = False
    third._users = 1


async def test_who_does_not_answer_is_left_out(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snorky.processes.ANSWER_SECONDS", 0.05)
    first, second, third = processes
    for each in processes:
        each.answers["id"] = lambda params, each=each: each.id
    third.connection.cut = True
    answers = await _awaited(first.ask_all("id", None))
    assert set(answers) == {first.id, second.id}
    with pytest.raises(TimeoutError):
        await first.ask(third.id, "id", None)
    assert first._asked == {}


async def test_a_process_that_shares_nothing_sends_nothing() -> None:
    alone = Processes("chat", None)
    await alone.start()
    alone.answers["double"] = lambda params: params * 2
    assert alone.ask_all("double", 4) == [8]
    assert alone.others == []
    await alone.stop()


async def _awaited(result: Any) -> Any:
    return await result if hasattr(result, "__await__") else result
