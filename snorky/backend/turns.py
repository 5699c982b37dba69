"""Writers of one process take turns, so that pages hear of commits in their order.

Who writes holds the turn from before the commit until Snorky has accepted what was published; who
reads rows for a page with a token waits for the turn to pass after the query. So what a query saw
has been published when the page opens its token: nothing arrives later that takes it backwards.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 5.0


class Turn:
    """One lock, which nobody waits for longer than ``patience`` seconds."""

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self.patience = patience
        self._new_lock()
        if hasattr(os, "register_at_fork"):
            # Another thread may hold it at the fork, and does not exist in the child.
            os.register_at_fork(after_in_child=self._new_lock)

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Take the turn for the block. False: others have it for too long, go on without."""
        lock = self._lock
        got = lock.acquire(timeout=self.patience)
        try:
            yield got
        finally:
            if got:
                lock.release()

    def passed(self) -> bool:
        """Wait until those who had the turn before are done. False: they are not, by now."""
        with self.taken() as got:
            return got

    def _new_lock(self) -> None:
        # Entered again by a hook of a commit that saves.
        self._lock = threading.RLock()
