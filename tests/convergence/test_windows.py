"""Windows in the built client agree with the query, over each way in which changes come."""

from __future__ import annotations

from typing import Any

import pytest

from tests.convergence.run import Outcome
from tests.convergence.windowed import run_seed
from tests.convergence.windows import Shown, Window, problem
from tests.servers import Valkey


def holds(outcome: Outcome) -> None:
    assert outcome.problems == [], outcome
    assert outcome.counts["widened"] > 0
    assert outcome.counts["renderings"] > 50


async def test_windows_over_an_outbox_have_no_holes_and_no_ghosts() -> None:
    holds(await run_seed(1, "sqlite"))


async def test_nor_have_those_of_three_processes_that_an_engine_joins(valkey: Valkey) -> None:
    holds(await run_seed(1, "valkey-relay", valkey, valkey.url))


# The judge


def row(number: int, n: int = 5) -> dict[str, Any]:
    return {"id": number, "n": n, "color": "red", "team": "a"}


def judged(states: list[list[Any]], *shown: Shown) -> str | None:
    window = Window("Task", ["<", "n", 9], ["-id"], 3)
    window.shown = [*shown]
    return problem(window, states, lambda one: True)


def showing(*items: Any, answers: int = 1, size: int = 3) -> Shown:
    return Shown([*items], "live", True, size, answers)


STATES = [
    [row(4), row(3), row(2), row(1)],
    [row(5), row(4), row(3), row(2), row(1)],
    [row(4), row(3), row(2), row(1)],
    [row(4), row(2), row(1)],
]


def test_the_first_rows_of_moments_in_their_order_are_right() -> None:
    moments = [showing(*state[:3]) for state in STATES]
    assert judged(STATES, *moments) is None
    assert judged(STATES, moments[0], moments[3]) is None  # it need not show each of them
    assert judged(STATES, showing(row(5), row(4))) is None  # it has run out of rows, and asks


@pytest.mark.parametrize(
    ("name", "shown"),
    {
        "a hole": [showing(row(4), row(2), row(1)), showing(row(4), row(3), row(2))],
        "a ghost": [showing(row(6), row(5), row(4))],
        "an old row": [showing(row(5), row(4), row(3, n=4))],
        "a step back": [showing(row(4), row(2), row(1)), showing(row(5), row(4), row(3))],
        "another order": [showing(row(3), row(4), row(2))],
        "a row twice": [showing(row(4), row(4), row(3))],
        "too many": [showing(*STATES[0])],
        "what its query excludes": [showing(row(4, n=9))],
        "an empty moment": [showing(*STATES[0][:3]), showing()],
    }.items(),
)
def test_what_is_wrong_is_noticed(name: str, shown: list[Shown]) -> None:
    assert judged(STATES, *shown) is not None
