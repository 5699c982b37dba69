"""The thread that drains: after each commit, and before a page gets its token.

It is started at the first use, in each process, and again after a fork. While something is left to
tell, since Snorky is away or others have the turn, it tries again by itself.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

from snorky.backend.draining.turns import Outcome, Turns
from snorky.backend.exchange import snorky_log

PATIENCE_SECONDS = 1.0  # for the turn, and for a drain that a page waits for
LOOK_SECONDS = 5.0  # for what a process left that ended after its commit
AGAIN_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
PASS_SECONDS = 4.0  # less than the lease, which each answer renews
EXIT_SECONDS = 2.0


class Drainer:
    """``make`` is called in the thread that uses what it makes."""

    _thread: threading.Thread | None
    _listener: threading.Thread | None
    _outcome: Outcome | None

    def __init__(self, make: Callable[[], Turns]) -> None:
        self._make = make
        self._begin()
        atexit.register(self._finish)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def wake(self) -> None:
        """Something was committed: tell it soon. Costs the caller nothing."""
        with self._changed:
            self._wanted += 1
            self._start()
            self._changed.notify_all()

    def drained(self, patience: float = PATIENCE_SECONDS) -> bool:
        """Wait until all that has committed by now was told, or a relay will. False: it was not."""
        with self._changed:
            self._wanted += 1
            mine = self._wanted
            self._start()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= mine, patience)
            return self._done >= mine and self._outcome in ("told", "relayed")

    def forget(self) -> None:
        """Begin anew, with another Snorky or another database."""
        with self._changed:
            self._life += 1
            thread, self._thread, self._listener = self._thread, None, None
            self._changed.notify_all()
        if thread is not None:
            thread.join(EXIT_SECONDS)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._thread = self._listener = None
        self._life = 0
        self._wanted = self._done = 0  # drains
        self._asked = self._passed = 0  # passes, of the lease with this fence
        self._fence: str | None = None
        self._outcome = None

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._run, args=(self._life,), name="snorky-drainer", daemon=True
            )
            self._thread.start()

    def _run(self, life: int) -> None:
        turns: Turns | None = None
        failures = 0
        while True:
            with self._changed:
                again = failures > 0 or self._outcome == "busy"
                pause = AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)]
                self._changed.wait_for(
                    lambda: self._wanted > self._done or life != self._life,
                    pause if again else LOOK_SECONDS,
                )
                if life != self._life:
                    break
                wanted, asked, fence = self._wanted, self._asked, self._fence
                looks = wanted == self._done and not again
                listens = self._listener is not None
            outcome: Outcome | None = None
            try:
                turns = turns or self._make()
                if looks and not turns.waits() and (listens or not turns.becomes_holder()):
                    continue
                outcome = turns.drain(PATIENCE_SECONDS)
                if turns.fence != fence:
                    asked = 0  # by those who heard of another log, perhaps
                if outcome == "told" and asked > self._passed:
                    turns.end_pass(asked)
                failures = 0
            except Exception as error:
                # Of Snorky or of the database: whichever it is, it comes back.
                failures += 1
                if failures == 1:
                    snorky_log.error("The outbox waits: %s", error)
                if turns is not None:
                    turns.outbox.close()
            with self._changed:
                self._outcome, self._done = outcome, wanted
                if outcome == "told" and fence == self._fence:
                    self._passed = max(asked, self._passed)
                self._changed.notify_all()
                if turns is not None and turns.fence is not None and outcome == "told":
                    self._listen_to_pages(turns, life)
        if turns is not None:
            turns.close()

    def _listen_to_pages(self, turns: Turns, life: int) -> None:
        if life == self._life and (self._listener is None or self._fence != turns.fence):
            self._fence = turns.fence
            self._asked = self._passed = 0
            self._listener = threading.Thread(
                target=self._listen,
                args=(turns, life, turns.fence),
                name="snorky-passes",
                daemon=True,
            )
            self._listener.start()

    def _listen(self, turns: Turns, life: int, fence: str) -> None:
        """Hear of openings that ask for a pass, as long as this lease is ours."""

        def ends() -> bool:
            return life != self._life or fence != self._fence

        try:
            for asked in turns.await_passes(fence, PASS_SECONDS):
                with self._changed:
                    if ends():
                        break
                    if asked <= self._passed:
                        continue
                    self._asked = asked
                    self._wanted += 1
                    self._changed.notify_all()
                    self._changed.wait_for(
                        lambda asked=asked: self._passed >= asked or ends(),  # type: ignore[misc]
                        PASS_SECONDS,
                    )
        except Exception as error:
            snorky_log.debug("The drainer does not hear of openings: %s", error)
        with self._changed:
            if not ends():
                self._listener = self._fence = None

    def _finish(self) -> None:
        """A program that ends after its commit tells it before."""
        if self._thread is not None and self._thread.is_alive() and self._done < self._wanted:
            self.drained(EXIT_SECONDS)
