"""The promise holds for three processes that an engine joins, whichever a page comes back to."""

from __future__ import annotations

import pytest

from tests.convergence.cluster import MODES, Outcome, run_seed
from tests.servers import Postgres, Valkey


@pytest.mark.parametrize(("seed", "mode"), [*enumerate(MODES, 1)])
async def test_views_of_a_cluster_on_valkey_converge_and_never_lie(
    valkey: Valkey, seed: int, mode: str
) -> None:
    holds(await run_seed(seed, mode, valkey, valkey.url))


@pytest.mark.parametrize(("seed", "mode"), [*enumerate(MODES, 1)])
async def test_views_of_a_cluster_on_postgresql_converge_and_never_lie(
    postgres_server: Postgres, postgres_url: str, seed: int, mode: str
) -> None:
    holds(await run_seed(seed, mode, postgres_server, postgres_url))


def holds(outcome: Outcome) -> None:
    assert outcome.problems == [], outcome
    assert outcome.counts["transactions"] > 0
