"""How long the fuzz tests look: a glance by default, longer where FUZZ says so.

``FUZZ=100 pytest tests/fuzz`` tries a hundred times as many examples, and has no time limit.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get("FUZZ", "1"))


def examples(number: int) -> settings:
    """``number`` of examples at a glance, and none of Hypothesis's limits of time."""
    return settings(
        max_examples=max(1, int(number * FACTOR)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
