"""``snorky serve --workers N``: processes that share the ports, watched and replaced by this one.

The listening sockets are this process's. A worker that ends, or is replaced, leaves its queue to
the next one, so nobody who connects meanwhile is refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import click

from snorky.log import snorky_log

VARIABLE = "SNORKY_WORKER"
"""Tells a worker which descriptors are what. It is taken from the environment at once."""

SECONDS_TO_START = 60.0

SECONDS_BETWEEN_STARTS = 1.0
"""A worker that has ended is not started again sooner than that after its own start."""

Sockets = list[socket.socket]


class Worker:
    """What a process learns that is a worker."""

    def __init__(self, frontend: Sockets, backend: Sockets, parent: socket.socket) -> None:
        self.frontend = frontend
        self.backend = backend
        self._parent = parent

    @classmethod
    def take(cls) -> Worker | None:
        """Of this process; None where it is none."""
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        told = json.loads(text)
        frontend, backend = (
            [socket.socket(fileno=descriptor) for descriptor in told[name]]
            for name in ("frontend", "backend")
        )
        return cls(frontend, backend, socket.socket(fileno=told["parent"]))

    def is_ready(
        self, *, joined: bool, with_backend: bool, parent_gone: Callable[[], None]
    ) -> None:
        """Say that clients can come. ``joined``: an engine joins this process and its successor."""
        self._parent.setblocking(False)
        self._parent.send(json.dumps({"joined": joined, "with_backend": with_backend}).encode())
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(self._parent)
            parent_gone()

        loop.add_reader(self._parent, gone)


class Place:
    """One of the N: the sockets that stay, and the process that serves them now."""

    def __init__(self, number: int, frontend: Sockets, backend: Sockets) -> None:
        self.number = number
        self.frontend = frontend
        self.backend = backend
        self.process: asyncio.subprocess.Process | None = None
        self.joined = False
        self.with_backend = False


class Supervisor:
    """Runs a worker in each of its places until it is told to stop."""

    def __init__(self, places: Sequence[Place], arguments: Sequence[str]) -> None:
        self._places = places
        self._command = [sys.executable, "-m", "snorky", *arguments]
        self._stopping = False
        self._asked = asyncio.Event()
        self._signals: list[int] = []
        self._processes: dict[asyncio.subprocess.Process, socket.socket] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def run(self, announce: Callable[[bool], None]) -> int:
        """Returns the exit code. ``announce`` is called when all are ready: with a back end?"""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(each, self._signalled, each)
        for place in self._places:
            # One after the other: what is wrong with the program is told once.
            if self._signals or not await self._start(place):
                return await self._stop(signal.SIGTERM, 0 if self._signals else 1)
        announce(self._places[0].with_backend)
        while True:
            await self._asked.wait()
            self._asked.clear()
            signals, self._signals = self._signals, []
            for number in signals:
                if number == signal.SIGHUP:
                    await self._replace()
                else:
                    return await self._stop(number, 0)

    def _signalled(self, number: int) -> None:
        self._signals.append(number)
        if number != signal.SIGHUP and self._stopping:
            self._tell_all(number)
        self._asked.set()

    # Workers

    async def _start(self, place: Place) -> bool:
        """Start a worker; returns whether it is ready. Where not, the one before it stays."""
        ours, theirs = socket.socketpair()
        sockets = {"frontend": place.frontend, "backend": place.backend}
        told: dict[str, Any] = {
            name: [each.fileno() for each in of] for name, of in sockets.items()
        }
        told["parent"] = theirs.fileno()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                pass_fds=[*told["frontend"], *told["backend"], told["parent"]],
                env={**os.environ, VARIABLE: json.dumps(told)},
                # Ctrl-C is for us alone: we pass it on.
                start_new_session=True,
            )
        self._processes[process] = ours
        ours.setblocking(False)
        said = b""
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(SECONDS_TO_START):
                said = await asyncio.get_running_loop().sock_recv(ours, 1000)
        if not said:
            with suppress(ProcessLookupError):
                process.kill()
            await self._ended(process)
            return False
        place.process = process
        place.joined, place.with_backend = map(json.loads(said).get, ("joined", "with_backend"))
        watching = asyncio.create_task(self._watch(place, process, monotonic()))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        return True

    async def _watch(
        self, place: Place, process: asyncio.subprocess.Process, started: float
    ) -> None:
        code = await self._ended(process)
        if place.process is not process:
            return  # it was replaced
        place.process = None
        while not self._stopping and place.process is None:
            snorky_log.error("Worker %d has ended with code %d", place.number, code)
            rest = max(0.0, SECONDS_BETWEEN_STARTS - (monotonic() - started))
            await asyncio.sleep(rest)
            started = monotonic()
            if not self._stopping and place.process is None:
                await self._start(place)

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        code = await process.wait()
        connection = self._processes.pop(process, None)
        if connection is not None:
            connection.close()
        return code

    async def _replace(self) -> None:
        snorky_log.info("Replacing every worker")
        for place in self._places:
            former = place.process
            if former is not None and not place.joined:
                # What is published to the next one would not reach this one's clients.
                place.process = None
                _send(former, signal.SIGTERM)
                await former.wait()
                former = None
            if not await self._start(place):
                if former is None:
                    snorky_log.error("Worker %d could not be replaced, trying again", place.number)
                    self._signals.append(signal.SIGHUP)
                    await asyncio.sleep(SECONDS_BETWEEN_STARTS)
                    self._asked.set()
                else:
                    snorky_log.error("A new worker could not be started: the old ones go on")
                return
            if former is not None:
                _send(former, signal.SIGTERM)
        snorky_log.info("Every worker has been replaced")

    async def _stop(self, number: int, code: int) -> int:
        self._stopping = True
        self._tell_all(number)
        codes = await asyncio.gather(*(each.wait() for each in tuple(self._processes)))
        return code or next((1 for each in codes if each), 0)

    def _tell_all(self, number: int) -> None:
        for process in self._processes:
            _send(process, number)


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def supervise(
    frontend: Sequence[Sockets],
    backend: Sequence[Sockets],
    announce: Callable[[bool], None],
) -> None:
    """Serve these sockets, a list for each worker, until told to stop; then end the process."""
    places = [Place(n, *of) for n, of in enumerate(zip(frontend, backend, strict=True), 1)]

    async def run() -> int:
        return await Supervisor(places, sys.argv[1:]).run(announce)

    code = asyncio.run(run())
    if code:
        raise click.exceptions.Exit(code)
