"""The promise holds for three processes that an engine joins, whichever a page comes back to."""

from __future__ import annotations

import pytest

from tests.convergence.cluster import MODES, run_seed, valkey


@pytest.mark.parametrize(("seed", "mode"), [*enumerate(MODES, 1)])
async def test_views_of_a_cluster_converge_and_never_lie(seed: int, mode: str) -> None:
    with valkey() as (engine, url):
        outcome = await run_seed(seed, mode, engine, url)
    assert outcome.problems == [], outcome
    assert outcome.counts["transactions"] > 5
