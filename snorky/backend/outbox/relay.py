"""The relay: it reads an outbox and tells Snorky, once and in order, for ever.

::

    Relay("postgresql://...").run(SnorkyBackend(SnorkyHTTPTransport(url, key)))

One relay of a source works at a time, by a lease that Snorky gives; others wait for it to lapse.
Two threads: one reads and appends, the other asks Snorky whether a page waits for a pass. Whatever
goes away, database or Snorky, is tried again until it is back.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic, time
from typing import Any, Protocol

from snorky.backend.entries import Change, entry_text, models_of
from snorky.backend.exchange import NoAnswerError, SnorkyError, StatusError, snorky_log
from snorky.backend.outbox.reading import Entry, Reader, Rendering, Represent, Step
from snorky.backend.outbox.sources import LOOK_SECONDS, Wake, source_of
from snorky.metrics import RelayFigures, metrics

LEASE_SECONDS = 10.0
CHECK_SECONDS = 60.0
"""How often is looked whether tables and triggers are as they were."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 2.0

FENCE_IS_OLD = "Fence is old"
LEASE_IS_HELD = "Lease is held"
TEMPORARY = ("The log is not available", "Command timed out", "Too many pending calls")


class Backend(Protocol):
    """What `snorky.backend.SnorkyBackend` offers, called from two threads."""

    def call(self, service: str, command: str, **params: Any) -> Any: ...

    def call_encoded(self, service: str, command: str, params: str) -> Any: ...


class Stopped(Exception):
    """Somebody asked for the end."""


class FenceLost(Exception):
    """Another relay has the lease, or the log is a new one."""


class Relay:
    """``tables`` names the models of tables, where they are not the tables' own names.

    ``represent`` has functions of rows, ``{"tickets": lambda row: ("Ticket", {...})}``. ``lease``
    is what the service gives: its argument of that name, in seconds; 10, or what it is where the
    service is in the same program.
    """

    def __init__(
        self,
        database: str,
        *,
        service: str = "datasync_backend",
        source: str = "main",
        tables: Mapping[str, str] | None = None,
        represent: Mapping[str, Represent] | None = None,
        lease: float | None = None,
    ) -> None:
        self.service = service
        self.source_name = source
        self.lease = LEASE_SECONDS if lease is None else lease
        self.knows_lease = lease is not None
        self.figures = RelayFigures()
        self._rendering = Rendering(tables, represent)
        self._source = source_of(database)
        self._stopping = threading.Event()
        self._wake = Wake()
        self._snorky: Backend | None = None
        self._fence: str | None = None
        self._place: Any = None
        self._asked = 0
        self._passed = 0
        self._alive_at = 0.0
        self._ended = threading.Event()
        self._failed: BaseException | None = None
        self._reader: Reader | None = None
        self._told_at = monotonic()
        metrics.watch_relay(source, self, Relay.measured)

    def measured(self) -> RelayFigures:
        """The figures, as of now."""
        figures, reader = self.figures, self._reader
        if reader is not None:
            figures.outbox_length = reader.waiting
            oldest = reader.oldest
            figures.outbox_age = 0.0 if oldest is None else max(0.0, time() - oldest)
        figures.lag = monotonic() - self._told_at
        return figures

    def run(self, snorky: Backend, ready: Callable[[], None] = lambda: None) -> None:
        """Relay until `stop` is called, from another thread. ``ready``: called when it works.

        To be called once.
        """
        try:
            self._run(snorky, ready)
        finally:
            self._wake.close()

    def _run(self, snorky: Backend, ready: Callable[[], None]) -> None:
        self._snorky = snorky
        self._ready = ready
        faults: tuple[type[Exception], ...] = (RuntimeError, SnorkyError, *self._source.errors)
        said = ""
        pause = SHORTEST_PAUSE
        while not self._stopping.is_set():
            try:
                self._source.connect()
                self._relay()
            except Stopped:
                break
            except FenceLost as error:
                snorky_log.warning("The relay begins anew: %s", error)
                self._fence = None
                continue
            except Exception as error:
                # Whatever it is, the relay goes on; what it did not expect is told in full.
                self.figures.failures += 1
                if self.figures.ready:
                    pause = SHORTEST_PAUSE
                text = (str(error).strip().splitlines() or [type(error).__name__])[0]
                if text != said:
                    trace = None if isinstance(error, faults) else error
                    snorky_log.warning("The relay tries again: %s", text, exc_info=trace)
                said = text
                self._stopping.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            finally:
                self.figures.ready = False
                self._source.close()
        self._end_lease()

    def stop(self) -> None:
        """Let `run` return soon. For any thread."""
        self._stopping.set()
        self._ended.set()
        self._wake.set()

    # One connection to the database

    def _relay(self) -> None:
        self._take_lease()
        reader = self._reader = self._source.reader(self._rendering, self._place)
        self._tell(reader, reader.begin())
        self._failed = None
        self._alive_at = monotonic()
        serving = threading.Event()
        asking = threading.Thread(target=self._ask, args=(serving,), name="relay", daemon=True)
        asking.start()
        try:
            self._pass_again_and_again(reader)
        finally:
            serving.set()
            self._ended.set()

    def _pass_again_and_again(self, reader: Reader) -> None:
        checked = monotonic()
        while True:
            if self._stopping.is_set():
                raise Stopped
            if self._failed is not None:
                raise self._failed
            self._alive_at = monotonic()
            asked = self._asked
            told = self._tell(reader, reader.read())
            if self._alive_at - checked > CHECK_SECONDS:
                checked = self._alive_at
                self._tell(reader, reader.check())
            if asked > self._passed:
                self._call("passEnded", asked=asked)
                self._passed = asked
                self._ended.set()
            self.figures.passes += 1
            self._told_at = monotonic()
            if not self.figures.ready:
                self.figures.ready = True
                self._ready()
            self._source.wait(self._wake, min(LOOK_SECONDS, self.lease / 4), busy=told > 0)

    def _tell(self, reader: Reader, steps: Any) -> int:
        told = 0
        for step in steps:
            self._append(step)
            self._place = step.place
            told += step.rows
            self.figures.rows += step.rows
            self.figures.entries += len(step.entries)
            self._alive_at = monotonic()
        return told

    # Snorky

    def _take_lease(self) -> None:
        """Wait for the lease, unless we have it. The place in the log is what counts then."""
        assert self._snorky is not None
        said = False
        while self._fence is None:
            try:
                lease = self._snorky.call(self.service, "takeLease", source=self.source_name)
            except SnorkyError as error:
                if str(error) != LEASE_IS_HELD:
                    raise
                if not said:
                    snorky_log.info("Another relay has the lease: waiting for it to lapse")
                said = True
                if self._stopping.wait(min(1.0, self.lease / 10)):
                    raise Stopped from None
                continue
            self._fence, self._place = lease["fence"], lease["place"]
            self._asked = self._passed = 0

    def _end_lease(self) -> None:
        """The next one need not wait. Where it cannot be said, or an older Snorky does not know."""
        if self._fence is not None:
            with suppress(RuntimeError, SnorkyError, FenceLost):
                self._call("endLease")

    def _ask(self, serving: threading.Event) -> None:
        """Learn who waits for a pass; each answer renews the lease, while passes are made."""
        try:
            while not serving.is_set():
                if monotonic() - self._alive_at > self.lease / 2:
                    serving.wait(self.lease / 20)
                    continue
                self._ended.clear()
                asked = self._call("awaitPass", timeout=self.lease / 3)
                if asked > self._passed:
                    self._asked = asked
                    self._wake.set()
                    self._ended.wait(self.lease / 3)
        except Exception as error:
            self._failed = error
            self._wake.set()

    def _call(self, command: str, **params: Any) -> Any:
        assert self._snorky is not None
        try:
            return self._snorky.call(
                self.service, command, source=self.source_name, fence=self._fence, **params
            )
        except SnorkyError as error:
            raise (FenceLost(error) if str(error) == FENCE_IS_OLD else error) from error

    def _append(self, step: Step) -> None:
        """Append it whole. Nothing else is, until it is known to be in the log."""
        pause = SHORTEST_PAUSE
        while True:
            if self._stopping.is_set():
                raise Stopped
            try:
                self._send(step.entries, step.place)
                return
            except SnorkyError as error:
                if str(error) == FENCE_IS_OLD:
                    raise FenceLost(error) from error
                if not str(error).startswith(TEMPORARY):
                    self._append_in_parts(step, error)
                    return
                problem: Exception = error
            except StatusError as error:
                if error.status == 413:
                    self._append_in_parts(step, error)
                    return
                problem = error
            except RuntimeError as error:
                problem = error
            except Exception:
                self._fence = None  # nobody knows whether it was accepted: the log has the place
                raise
            if not isinstance(problem, NoAnswerError) or pause == SHORTEST_PAUSE:
                snorky_log.warning("The relay appends again: %s", problem)
            self.figures.ready = False
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _append_in_parts(self, step: Step, refusal: Exception) -> None:
        """What is refused as a whole: by halves, at last as a reset of what it tells."""
        entries = step.entries
        if len(entries) > 1:
            half = len(entries) // 2
            self._append(Step(entries[:half], None))
            self._append(Step(entries[half:], step.place))
            return
        (entry,) = entries
        changes = [Change(delta["model"]) for delta in json.loads(entry.deltas)]
        reset = Entry(entry.key, entry_text([Change(model) for model in models_of(changes)]))
        if reset.deltas == entry.deltas:
            raise refusal
        snorky_log.warning("An entry is told as a reset: %s", refusal)
        self._append(Step([reset], step.place))

    def _send(self, entries: list[Entry], place: Any) -> None:
        assert self._snorky is not None
        texts = ",".join(entry.text for entry in entries)
        more = "" if place is None else f',"place":{json.dumps(place)}'
        self._snorky.call_encoded(
            self.service,
            "appendEntries",
            f'{{"source":{json.dumps(self.source_name)},"fence":{json.dumps(self._fence)},'
            f'"entries":[{texts}]{more}}}',
        )
