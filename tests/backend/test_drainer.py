"""The thread that drains, and the one that hears of pages which wait for a pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, Queue
from typing import Any

import pytest

from snorky.backend.draining.drainer import Drainer
from tests.patience import patient


class ScriptedTurns:
    """``asked`` has what the log answers to who holds the lease; ``ended`` what it was told."""

    def __init__(self) -> None:
        self.fence = "first"
        self.asked: dict[str, Queue[int]] = {"first": Queue(), "second": Queue()}
        self.ended: Queue[tuple[str, int]] = Queue()
        self.outbox = self

    def drain(self, patience: float) -> str:
        return "told"

    def waits(self) -> bool:
        return False

    def becomes_holder(self) -> bool:
        return False

    def await_passes(self, fence: str, timeout: float) -> Iterator[int]:
        asked = 0
        while self.fence == fence:
            try:
                asked = self.asked[fence].get(timeout=0.02)
            except Empty:
                pass
            yield asked

    def end_pass(self, asked: int) -> None:
        self.ended.put((self.fence, asked))

    def close(self) -> None: ...


@pytest.fixture
def turns() -> ScriptedTurns:
    return ScriptedTurns()


@pytest.fixture
def drainer(turns: ScriptedTurns) -> Iterator[Drainer]:
    made: Any = turns
    drainer = Drainer(lambda: made)
    yield drainer
    turns.fence = ""
    drainer.forget()
    for thread in threading.enumerate():
        if thread.name == "snorky-passes":
            thread.join(patient(10))


def test_passes_of_another_log_are_counted_anew(turns: ScriptedTurns, drainer: Drainer) -> None:
    assert drainer.drained(patient(10))
    turns.asked["first"].put(7)
    assert turns.ended.get(timeout=patient(10)) == ("first", 7)
    turns.fence = "second"
    assert drainer.drained(patient(10))
    turns.asked["second"].put(1)
    assert turns.ended.get(timeout=patient(10)) == ("second", 1)
