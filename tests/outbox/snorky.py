"""A Snorky in a thread of this process, which may be away, lose answers, or begin anew."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from snorky import ServiceRegistry
from snorky.backend.exchange import NoAnswerError
from snorky.backend.outbox import Relay
from snorky.backend.outbox.hosted import LoopBackend
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer
from tests.patience import patient


class Tasks(FilterDealer):
    model = "task"


class Killed(BaseException):
    """What a relay is stopped by in the middle of its work."""


class Snorky:
    """Also the back end that relays call: ``before`` and ``after`` are called around each."""

    lease = 0.4

    def __init__(self, **options: Any) -> None:
        self.before: Callable[[str], None] = lambda command: None
        self.after: Callable[[str], None] = lambda command: None
        self.away = False
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.begin_anew()

    def begin_anew(self) -> None:
        """As after a restart with a log in memory: nothing is known any more."""
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()

    async def _begin(self) -> None:
        options = {"relay": True, "lease": self.lease, **self._options}
        self.service = DataSyncService("datasync", [Tasks], **options)
        self.entries: list[dict[str, Any]] = []
        """The data of each entry of the log."""
        self.service.changes.log.follow(lambda entry: self.entries.append(entry.data))
        backend = DataSyncBackend("datasync_backend", self.service)
        self.backend = LoopBackend(ServiceRegistry([backend]), self._loop)

    @property
    def deltas(self) -> list[list[Any]]:
        """Those of each entry that has some."""
        return [list(map(dict, data["deltas"])) for data in self.entries if data.get("deltas")]

    @property
    def keys(self) -> set[str]:
        return {key for data in self.entries for key in data.get("keys", ())}

    def ask(self) -> int:
        """What an opening does: ask for a pass."""

        async def ask() -> Any:
            return self.service.changes.log.ask("main")

        number: int = asyncio.run_coroutine_threadsafe(ask(), self._loop).result()
        return number

    def call(self, service: str, command: str, **params: Any) -> Any:
        return self._answered(command, lambda: self.backend.call(service, command, **params))

    def call_encoded(self, service: str, command: str, params: str) -> Any:
        return self._answered(command, lambda: self.backend.call_encoded(service, command, params))

    def _answered(self, command: str, call: Callable[[], Any]) -> Any:
        if self.away:
            raise NoAnswerError("No answer")
        self.before(command)
        answer = call()
        self.after(command)
        return answer

    def close(self) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class RunningRelay:
    """A relay in a thread; ``ready`` is set once it works."""

    def __init__(self, relay: Relay, snorky: Snorky) -> None:
        self.relay = relay
        self.ready = threading.Event()
        self._snorky = snorky
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.relay.run(self._snorky, self.ready.set)
        except Killed:
            pass

    def wait_until_ready(self) -> RunningRelay:
        assert self.ready.wait(patient(10)), "the relay is not ready"
        return self

    def wait_until_dead(self) -> None:
        self._thread.join(patient(10))
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self.relay.stop()
        self.wait_until_dead()


def wait_until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait until a condition holds; fails after so long."""
    ends = monotonic() + patient(seconds)
    while not condition():
        assert monotonic() < ends, "it did not happen in time"
        threading.Event().wait(0.005)
