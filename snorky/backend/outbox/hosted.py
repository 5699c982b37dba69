"""A relay inside the program that serves: a thread beside the event loop, and no HTTP between."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as TookTooLong
from typing import Any

from snorky.backend.aio import InProcessTransport
from snorky.backend.exchange import NoAnswerError, call_envelope, call_result, encoded_call
from snorky.backend.outbox.relay import Relay

ANSWER_SECONDS = 30.0


class LoopBackend:
    """The back end of a registry, for threads; ``loop`` is the one that serves it."""

    def __init__(self, registry: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = InProcessTransport(registry, timeout=ANSWER_SECONDS)
        self._loop = loop

    def call(self, service: str, command: str, **params: Any) -> Any:
        return self._send(call_envelope(service, command, params))

    def call_encoded(self, service: str, command: str, params: str) -> Any:
        return self._send(encoded_call(service, command, params))

    def _send(self, envelope: Any) -> Any:
        work = self._transport.send(envelope)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise
        try:
            return call_result(future.result(ANSWER_SECONDS + 5))
        except (CancelledError, TookTooLong) as error:
            raise NoAnswerError("The server in this process has stopped") from error


class HostedRelay:
    """Runs a relay while a server runs. ``registry`` is that of its back end."""

    def __init__(self, relay: Relay, registry: Any) -> None:
        self.relay = relay
        self._registry = registry
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """To be called in the event loop."""
        service = self._registry.registered_services.get(self.relay.service)
        passes = getattr(getattr(service, "frontend", None), "passes", None)
        if passes is not None and not self.relay.knows_lease:
            self.relay.lease = passes.lease
        backend = LoopBackend(self._registry, asyncio.get_running_loop())
        self._thread = threading.Thread(
            target=self.relay.run, args=(backend,), name="relay", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        """Return when it has ended, while the loop goes on answering it."""
        self.relay.stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5)
