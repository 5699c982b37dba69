"""Starting and stopping what a registry holds: brokers first, then services; the other way back."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from snorky.hooks import HOOK_FAULTS
from snorky.log import snorky_log

_users: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
"""Of each broker that runs in this process: services of several registries may share one."""


class Running:
    """What was started for one registry."""

    def __init__(self) -> None:
        self.is_complete = False
        """Whether everything that is registered runs."""
        self._started: list[Any] = []
        self._starting: asyncio.Task[None] | None = None

    async def start(self, services: Iterable[Any]) -> None:
        """Start those that do not run yet. Where one fails, those of this call are stopped."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(tuple(services)))
            self._starting.add_done_callback(self._tried)
        # Others wait for it too, and who gives up has not stopped it.
        await asyncio.shield(self._starting)

    async def stop(self) -> None:
        if self._starting is not None:
            await asyncio.wait([self._starting])
        self.is_complete = False
        await self._stop_down_to(0)

    async def _start(self, services: Sequence[Any]) -> None:
        before = len(self._started)
        try:
            for service in services:
                broker = getattr(service, "broker", None)
                if broker is None:  # it may be a back end's, whose front end is served elsewhere
                    broker = getattr(getattr(service, "frontend", None), "broker", None)
                if broker is not None and broker not in self._started:
                    await _start_broker(broker)
                    self._started.append(broker)
                if service not in self._started:
                    await _call(service, "start")
                    self._started.append(service)
        except BaseException:
            await self._stop_down_to(before)
            raise
        self.is_complete = True

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # whoever waited has it

    async def _stop_down_to(self, count: int) -> None:
        while len(self._started) > count:
            each = self._started.pop()
            try:
                if each in _users:
                    await _stop_broker(each)
                else:
                    await _call(each, "stop")
            except HOOK_FAULTS:
                snorky_log.exception("Unhandled exception while stopping %r", each)


async def _start_broker(broker: Any) -> None:
    users = _users.get(broker, 0)
    if not users:
        await _call(broker, "start")
    _users[broker] = users + 1


async def _stop_broker(broker: Any) -> None:
    users = _users.pop(broker) - 1
    if users:
        _users[broker] = users
    else:
        await _call(broker, "stop")


async def _call(of: Any, name: str) -> None:
    """``start`` or ``stop``, where it has one that is no command of clients.

    One that needs parameters is older than ours and means something else.
    """
    method = getattr(of, name, None)
    if method is None or name in getattr(of, "rpc_commands", ()):
        return
    try:
        inspect.signature(method).bind()
    except TypeError:
        snorky_log.info("%s.%s is not called: it takes parameters", type(of).__name__, name)
        return
    done = method()
    if inspect.isawaitable(done):
        await done
