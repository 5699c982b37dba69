"""The promise: when writes pause every view equals its query, and it never was anything else."""

from __future__ import annotations

import pytest

from tests.convergence import run
from tests.convergence.breakages import MODE_OF
from tests.convergence.run import MODES, run_seed
from tests.patience import patient

SEEDS_TO_NOTICE = 8


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [1, 2])
async def test_views_converge_and_never_lie(seed: int, mode: str) -> None:
    outcome = await run_seed(seed, mode)
    assert outcome.problems == [], outcome
    assert outcome.counts["transactions"] > 5


@pytest.mark.timeout(patient(300))
@pytest.mark.parametrize("breakage", MODE_OF)
async def test_a_broken_rule_is_noticed(breakage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SECONDS_TO_SETTLE", patient(3))
    for seed in range(1, SEEDS_TO_NOTICE + 1):
        outcome = await run_seed(seed, MODE_OF[breakage], breakage)
        if outcome.problems:
            return
    raise AssertionError(f"{breakage} was not noticed in {SEEDS_TO_NOTICE} seeds")
