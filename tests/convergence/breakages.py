"""Rules broken on purpose, each of which the test must notice: a test of the test."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from snorky.services.datasync import DataSyncService

# Name -> the mode in which it shows. Those without a function here are the application's, the
# relay's or the client's own.
MODE_OF = {
    "rule 1": "hand",
    "rule 2": "hand",
    "rule 3": "hand",
    "rule 4": "relay",
    "rule 5": "relay",
    "rule 5 by hand": "hand",
    "no folding": "hand",
    "rows between swallowed": "runs",
    "no fence": "runs",
    "keys forgotten": "relay",
    "one since for all": "hand",
    "last touch not told": "hand",
    "revocations ignored": "hand",
}


def break_server(name: str, service: DataSyncService) -> None:
    breakage = _BREAKAGES.get(name)
    if breakage is not None:
        breakage(service)


def _live_at_once(service: DataSyncService) -> None:
    service.passes.of = lambda models: frozenset()  # type: ignore[method-assign]


def _no_folding(service: DataSyncService) -> None:
    changes = service.changes
    whole = changes._deltas

    def one_by_one(position: Any, data: Any) -> Any:
        for delta in data["deltas"]:
            yield from whole(position, {**data, "deltas": [delta]})

    changes._deltas = one_by_one  # type: ignore[method-assign]


def _swallow_rows_between(service: DataSyncService) -> None:
    changes = service.changes
    matched = changes._matched

    def without(deltas: Any, data: Any, touches: Any) -> Any:
        return matched(deltas, {**data, "several": False}, touches)

    changes._matched = without  # type: ignore[method-assign]


def _no_fence(service: DataSyncService) -> None:
    log: Any = service.changes.log
    log._fenced = lambda source, fence: log._sources[source]


def _forget_keys(service: DataSyncService) -> None:
    log: Any = service.changes.log
    append = log._append

    def forgetful(*arguments: Any, **more: Any) -> Any:
        for source in log._sources.values():
            source.positions_by_key.clear()
            source._newest_keys.clear()
        return append(*arguments, **more)

    log._append = forgetful


def _forget_touches(service: DataSyncService) -> None:
    stale: Any = service.upkeep._stale
    touched = stale.touched

    def where_nobody_waits(items: Any) -> None:
        told_lately = monotonic() - 1
        touched([each for each in items if all(h.stale_sent < told_lately for h in each.holders)])

    stale.touched = where_nobody_waits


def _ignore_revocations(service: DataSyncService) -> None:
    entry_appended = service.upkeep.entry_appended

    def all_but_revocations(position: Any, data: Any) -> Any:
        if "revoke" not in data:
            yield from entry_appended(position, data)

    service.upkeep.entry_appended = all_but_revocations  # type: ignore[method-assign]


_BREAKAGES: dict[str, Callable[[DataSyncService], None]] = {
    "rule 5": _live_at_once,
    "no folding": _no_folding,
    "rows between swallowed": _swallow_rows_between,
    "no fence": _no_fence,
    "keys forgotten": _forget_keys,
    "last touch not told": _forget_touches,
    "revocations ignored": _ignore_revocations,
}
