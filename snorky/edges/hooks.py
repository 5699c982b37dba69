"""What the application's own code may raise where an edge calls it."""

from __future__ import annotations

import asyncio

HOOK_FAULTS: tuple[type[BaseException], ...] = (Exception, asyncio.CancelledError)
"""Out of a plain function ``CancelledError`` is no cancellation of ours, but a fault like others:
it asked a future for its result, and that was cancelled."""


def is_cancelled() -> bool:
    """Whether our task has been asked to end; else ``CancelledError`` is a fault here too."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
