"""``snorky relay`` with one of its rules broken, which the test must notice.

python -m tests.convergence.broken_relay NAME relay DATABASE_URL ...
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from snorky.backend.outbox import postgresql_reader
from snorky.backend.outbox.missing import LowWater
from snorky.backend.outbox.relay import Relay
from snorky.cli import main


def _order_by(expression: str) -> None:
    pieces = postgresql_reader._PIECES
    assert "ORDER BY last, low" in pieces
    order = f"ORDER BY {expression}, low"
    postgresql_reader._PIECES = pieces.replace("ORDER BY last, low", order)


def _by_smallest_id() -> None:
    _order_by("min(low) OVER (PARTITION BY xid)")


def _by_xid() -> None:
    _order_by("xid")


def _no_low_water() -> None:
    saw = LowWater.saw

    def forgetful(self: LowWater, *arguments: int) -> None:
        saw(self, *arguments)  # type: ignore[arg-type]
        self.missing = []

    LowWater.saw = forgetful  # type: ignore[assignment, method-assign]


def _live_at_once() -> None:
    call = Relay._call

    def impatient(self: Relay, command: str, **params: object) -> object:
        answer = call(self, command, **params)
        if command == "awaitPass" and answer > self._passed:
            self._passed = answer
            call(self, "passEnded", asked=answer)
        return answer

    Relay._call = impatient  # type: ignore[method-assign]


BREAKAGES: dict[str, Callable[[], None]] = {
    "by smallest id": _by_smallest_id,
    "by xid": _by_xid,
    "no low-water mark": _no_low_water,
    "live at once": _live_at_once,
}

if __name__ == "__main__":
    BREAKAGES[sys.argv.pop(1)]()
    main()
