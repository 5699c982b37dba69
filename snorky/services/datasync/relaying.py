"""The back end as a relay sees it: who reads an outbox appends what it finds, once and in order."""

from __future__ import annotations

import inspect
from typing import Any

from snorky.brokers import BrokerUnavailable, EntryTooLarge, FenceOld, LeaseHeld
from snorky.brokers.log import MAX_PLACE_BYTES, UNCHANGED, Append
from snorky.deltas import BadDelta, parse_delta
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.datasync.frontend import DataSyncService
from snorky.services.datasync.log import (
    MAX_KEY_LENGTH,
    MAX_STEP_ENTRIES,
    deltas_data,
)
from snorky.topics import awaited
from snorky.wire import encode

MAX_WAIT_SECONDS = 25.0
"""How long ``awaitPass`` waits; less than a request to the back end may take."""


class RelayCommands(RPCService):
    """What relays call. Each accepted command renews the lease of its source."""

    def __init__(self, name: str, frontend: DataSyncService) -> None:
        super().__init__(name)
        self.frontend = frontend

    @rpc_command
    async def takeLease(
        self, req: Request, source: str, fence: str | None = None
    ) -> dict[str, Any]:
        """Become the relay of a source: ``{"fence", "place"}``. It lapses with nothing heard.

        Whoever knows the fence of the lease that runs takes it over, and gets a new one.
        """
        if source not in self.frontend.passes.sources:
            raise RPCError("Unknown source")
        try:
            lease = self.frontend.changes.log.take_lease(source, self.frontend.passes.lease, fence)
            given, place = await lease if inspect.isawaitable(lease) else lease
        except LeaseHeld as error:
            raise RPCError("Lease is held") from error
        except BrokerUnavailable as error:
            raise RPCError("The log is not available") from error
        self.frontend.upkeep.go_on()
        return {"fence": given, "place": place}

    @rpc_command
    async def appendEntries(
        self,
        req: Request,
        source: str,
        fence: str,
        entries: list[Any],
        place: Any = UNCHANGED,
    ) -> list[str]:
        """Append a step, whole or not at all: each entry ``{"key", "deltas", "keys"?}``.

        Answers their positions, those of entries that came before included, when this process has
        handed them out. ``place`` is stored in the same step.
        """
        self._check_source(source)
        if len(entries) > MAX_STEP_ENTRIES:
            raise RPCError(f"Too many entries: at most {MAX_STEP_ENTRIES} are a step")
        step = [_append(entry) for entry in entries]
        if sum(len(encode(each.data)) for each in step) > self.frontend.log_bytes // 4:
            raise RPCError("Step too large: at most a quarter of log_bytes")
        if place is not UNCHANGED and len(encode(place)) > MAX_PLACE_BYTES:
            raise RPCError(f"Place too large: at most {MAX_PLACE_BYTES} bytes of JSON")
        self.frontend.upkeep.go_on()
        positions = await _accepted(
            lambda: self.frontend.changes.append_step(step, source, fence, place)
        )
        return [str(position) for position in positions]

    @rpc_command
    async def awaitPass(
        self,
        req: Request,
        source: str,
        fence: str,
        timeout: float,  # noqa: ASYNC109
    ) -> int:
        """Wait until an opening asks for a pass: answers how many have asked.

        At once where more have than the last pass ended, else when the next one does, else after
        the timeout, which should be shorter than the lease.
        """
        self._check_source(source)
        log = self.frontend.changes.log
        await _accepted(lambda: log.renew_lease(source, fence))
        passed = self.frontend.passes.ended(source)
        seconds = min(max(timeout, 0.0), MAX_WAIT_SECONDS)
        asked: int = await _accepted(lambda: log.asked(source, passed, seconds))
        await _accepted(lambda: log.renew_lease(source, fence))
        return asked

    @rpc_command
    async def passEnded(self, req: Request, source: str, fence: str, asked: int) -> None:
        """A pass has ended that began after so many had asked: their lists are live."""
        self._check_source(source)
        data = {"pass": {"source": source, "asked": asked}}
        await _accepted(lambda: self.frontend.changes.append_fenced(data, source, fence))

    @rpc_command
    async def endLease(self, req: Request, source: str, fence: str) -> None:
        """Let go of a source: who comes next need not wait until the lease has lapsed."""
        self._check_source(source)
        log = self.frontend.changes.log
        await _accepted(lambda: log.renew_lease(source, fence))
        try:
            await _accepted(lambda: log.take_lease(source, 0, fence))  # with a fence of nobody's
        except LeaseHeld as error:
            raise RPCError("Fence is old") from error

    @rpc_command
    async def waitsFor(self, req: Request, source: str) -> bool:
        """Whether pages wait for a pass of a source: not where it is named without models."""
        return self.frontend.passes.sources.get(source, frozenset()) != frozenset()

    def _check_source(self, source: str) -> None:
        if source not in self.frontend.passes.sources:
            raise RPCError("Fence is old")  # it was never given one


async def _accepted(work: Any) -> Any:
    try:
        return await awaited(work())
    except FenceOld as error:
        raise RPCError("Fence is old") from error
    except EntryTooLarge as error:
        raise RPCError("Entry too large") from error
    except BrokerUnavailable as error:
        raise RPCError("The log is not available") from error


def _append(entry: Any) -> Append:
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    for name in ("key", "deltas"):
        if name not in fields:
            raise RPCError(f"Missing field '{name}'")
    key, deltas, keys = fields["key"], fields["deltas"], fields.get("keys") or []
    if not isinstance(keys, list) or not all(map(_is_key, (key, *keys))):
        raise RPCError(f"keys must be texts of at most {MAX_KEY_LENGTH} characters")
    if not isinstance(deltas, list):
        raise RPCError("deltas must be list")
    try:
        parsed = [parse_delta(delta) for delta in deltas]
    except BadDelta as error:
        raise RPCError(str(error)) from error
    # A run of transactions, where the source cannot tell them apart: only it knows.
    return Append(deltas_data(parsed, (key, *keys), several=True), key)


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and 0 < len(key) <= MAX_KEY_LENGTH
