"""Where a database tells its changes itself: every fault on, nothing is lost, or told twice."""

from __future__ import annotations

import pytest

from tests.convergence import outbox
from tests.convergence.broken_relay import BREAKAGES
from tests.convergence.orm import run as orm
from tests.convergence.orm.run import ORMS
from tests.convergence.outbox import MODES as TRIGGERS
from tests.convergence.seeds import run_seed
from tests.patience import patient
from tests.servers import Postgres

SEEDS_TO_NOTICE = 8


@pytest.mark.parametrize("mode", TRIGGERS)
async def test_views_converge_and_never_lie(mode: str, postgres_server: Postgres) -> None:
    outcome = await run_seed(1, mode, postgres_server)
    assert outcome.problems == [], outcome
    assert outcome.counts["transactions"] > 5


@pytest.mark.parametrize(("seed", "mode"), [*enumerate(ORMS, 1)])
async def test_they_do_where_processes_with_an_orm_tell_their_own(
    seed: int, mode: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SECONDS_OF_WRITES", patient(1.5))
    monkeypatch.setattr(orm, "PROCESSES", 2)
    outcome = await run_seed(seed, mode, postgres_server)
    assert outcome.problems == [], outcome
    assert outcome.counts["transactions"] > 0


@pytest.mark.timeout(patient(300))
@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_a_broken_relay_is_noticed(
    breakage: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SECONDS_OF_WRITES", patient(2.5))
    monkeypatch.setattr(outbox, "SECONDS_TO_SETTLE", 0.5)
    for seed in range(1, SEEDS_TO_NOTICE + 1):
        if (await run_seed(seed, "postgresql", postgres_server, breakage)).problems:
            return
    raise AssertionError(f"{breakage} was not noticed in {SEEDS_TO_NOTICE} seeds")
