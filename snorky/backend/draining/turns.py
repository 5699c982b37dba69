"""One turn of a drainer: what it says to Snorky, and what it leaves for the next.

The log gives out a lease with a fence. Drainers of one outbox hand the lease on: who gets the turn
exchanges the fence that it finds there for a new one, so that who had it before, slept, and lost
the lock meanwhile, is refused. A relay that holds the lease is left alone. Where Snorky knows no
such source there is no fence: then a repeated key alone is recognised.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.draining.entries import Found, Outbox, Turn, steps
from snorky.backend.exchange import SnorkyError
from snorky.backend.outbox.reading import STEP_ENTRIES

ATTEMPTS = 4  # to be the holder: the log may be another one by the time it is told something

Outcome = Literal["told", "busy", "relayed"]
"""All that was there has been told; others have the turn; a relay tells it, and pages wait."""


class _LeaseGone(Exception):
    """Somebody else has it by now, or the log is another one."""


class Turns:
    """The turns of one process. For one thread, and another one that waits for passes.

    ``connect`` makes a connection to Snorky for each of them.
    """

    def __init__(
        self,
        outbox: Outbox,
        connect: Callable[[], SnorkyBackend],
        service: str,
        source: str = "main",
    ) -> None:
        self.outbox = outbox
        self.fence: str | None = None
        self._connect = connect
        self._snorky = connect()
        self._service = service
        self._source = source
        self._place: Any = None
        self._is_gone = False
        self._new_holder()

    def drain(self, patience: float) -> Outcome:
        """Tell all that has committed by now. Raises RuntimeError, SnorkyError and the database's.

        ``patience``: seconds to wait for the turn.
        """
        attempts = 0
        while attempts < ATTEMPTS:
            with self.outbox.turn(patience) as turn:
                if turn is None:
                    return "busy"
                if turn.state.get("holder") != self._holder or self._is_gone:
                    if not self._take_over(turn, turn.state.get("fence"), self.fence):
                        # A relay's, or of a drainer that was killed before it could say so.
                        return "relayed" if self._is_awaited() else "busy"
                    attempts += 1  # it stands there before it is used
                    continue
                match self._tell(turn):
                    case "all":
                        return "told"
                    case "fence":
                        self._new_holder()
        raise RuntimeError("Snorky gave the lease to others again and again")

    def waits(self) -> bool:
        return self.outbox.waits(self._place)

    def becomes_holder(self) -> bool:
        """Hold the lease, where pages wait for who does and nobody else does. False: no need to.

        Who held it may have been killed, or the log may be another one, while there is nothing to
        tell.
        """
        try:
            if not self._is_awaited():
                return False
            with self.outbox.turn(0) as turn:
                if turn is None:
                    return False
                if turn.state.get("holder") == self._holder and not self._is_gone:
                    return True
                return self._take_over(turn, None)
        except RuntimeError:
            return False  # nothing waits that would have to be told

    def await_passes(self, fence: str, timeout: float) -> Iterator[int]:
        """How many openings have asked for a pass, again and again, as long as this lease is ours.

        In a thread of its own: it waits for more, each time until the timeout.
        """
        snorky = self._connect()
        try:
            while self.fence == fence:
                yield self._fenced(snorky, fence, "awaitPass", timeout=timeout)
        except _LeaseGone:
            return
        finally:
            _close(snorky)

    def end_pass(self, asked: int) -> None:
        """All was told that had committed when so many had asked."""
        try:
            self._fenced(self._snorky, self.fence, "passEnded", asked=asked)
        except _LeaseGone:
            pass  # who has it hears of those who still wait

    def close(self) -> None:
        self.outbox.close()
        _close(self._snorky)

    def _fenced(self, snorky: SnorkyBackend, fence: str | None, command: str, **params: Any) -> Any:
        try:
            return snorky.call(self._service, command, source=self._source, fence=fence, **params)
        except SnorkyError as error:
            if str(error) != "Fence is old":
                raise
            if fence == self.fence:
                self._is_gone = True
            raise _LeaseGone from error

    def _new_holder(self) -> None:
        self._holder = secrets.token_hex(8)

    def _take_over(self, turn: Turn, *fences: str | None) -> bool:
        """By one of these fences: the one that was left, and our own, which is the newest where the
        transaction failed in which it would have been left."""
        place = turn.state.get("place")
        for fence in dict.fromkeys(fences):
            known = {} if fence is None else {"fence": fence}
            try:
                lease = self._snorky.call(self._service, "takeLease", source=self._source, **known)
            except SnorkyError as error:
                match str(error):
                    case "Lease is held":
                        continue
                    case "Unknown source":
                        lease = {"fence": None, "place": place}
                    case _:
                        raise
            self.fence, self._place, self._is_gone = lease["fence"], lease["place"], False
            turn.save({"holder": self._holder, "fence": self.fence, "place": place})
            return True
        return False

    def _is_awaited(self) -> bool:
        """Whether pages wait for a relay before they are live."""
        try:
            return bool(self._snorky.call(self._service, "waitsFor", source=self._source))
        except SnorkyError:
            return True  # an older Snorky

    def _tell(self, turn: Turn) -> Literal["all", "some", "fence"]:
        """Tell what there is. "fence": it is old, or the log another one.

        Not more at once than the log knows the keys of: what a turn has told may not be forgotten
        with it, where it ends in the middle, and is told again then.
        """
        told = 0
        while told < STEP_ENTRIES:
            before = told
            for step in steps(turn.read(self._place)):
                try:
                    if not self._append(step):
                        return "fence"
                except Exception:
                    self._new_holder()  # was it accepted? The log has the place
                    raise
                turn.forget(step)
                self._place = step[-1].place
                if self.fence is None:
                    turn.save({**turn.state, "place": self._place})
                told += len(step)
            if told == before:
                return "all"
        return "some"

    def _append(self, step: Sequence[Found]) -> bool:
        if self.fence is None:
            return self._publish(step)
        params = {"source": self._source, "fence": self.fence, "place": step[-1].place}
        entries = ",".join(each.entry.text for each in step)
        text = f'{json.dumps(params)[:-1]},"entries":[{entries}]}}'
        try:
            self._snorky.call_encoded(self._service, "appendEntries", text)
        except SnorkyError as error:
            if str(error) != "Fence is old":
                raise
            return False
        return True

    def _publish(self, step: Sequence[Found]) -> bool:
        for entry, *_ in step:
            # By the key that its page waits for, where there is one.
            key = entry.keys[0] if entry.keys else entry.key
            text = f'{{"deltas":{entry.deltas},"key":{json.dumps(key)}}}'
            self._snorky.call_encoded(self._service, "publishDeltas", text)
        return True


def _close(snorky: SnorkyBackend) -> None:
    if isinstance(snorky.transport, SnorkyHTTPTransport):
        snorky.transport.close()
