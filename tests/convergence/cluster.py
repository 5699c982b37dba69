"""One seed over three processes that an engine joins: clients and back end reach any of them.

A balancer spreads connections; processes are killed and suspended, cut off from the engine, and the
engine goes away and comes back. No change may be lost by any of it.

python -m tests.convergence.cluster [--seeds 1-20] [--engine postgresql|valkey] [--mode hand|relay]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.convergence.application import Backend, Refused
from tests.convergence.history import place
from tests.convergence.run import Outcome, Run, Server
from tests.ports import free_port
from tests.relay import Relay
from tests.servers import Valkey, run_postgres

PROCESSES = 3
ENGINES = ("postgresql", "valkey")
MODES = ("hand", "relay")
REFUSED = ("The log is not available", "The broker is not available", "Call timed out")
FAULTS = ("kill", "suspend_process", "cut_off", "stop_engine")


class Engine(Protocol):
    def stop(self, *, abruptly: bool = False) -> None: ...
    def start(self) -> None: ...


class Process(Server):
    """One process of several, which reaches the engine over a network that can be cut."""

    def __init__(self, options: dict[str, Any], url: str) -> None:
        super().__init__(options, "")
        self.network = Relay(_server_of(url))
        self.network.port = free_port()
        self.broker = _through(self.network.port, url)

    @property
    def arguments(self) -> list[str]:
        return ["--broker", self.broker]

    def kill(self) -> None:
        super().kill()
        self._process = None

    def go_on(self) -> None:
        """Start again, where it ended by itself: the engine was away when it came."""
        if self._process is not None and self._process.poll() is not None:
            self.start()

    def suspend(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Balancer(Relay):
    """Plain TCP: each connection goes to the next process that takes it."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(0)
        self.port = free_port()
        self._ports = cycle(ports)
        self._number = len(ports)

    async def connect(self) -> Any:
        for _ in range(self._number):
            try:
                return await asyncio.open_connection("127.0.0.1", next(self._ports))
            except OSError:
                continue
        raise ConnectionError("no process listens")


class Cluster:
    def __init__(self, options: dict[str, Any], url: str) -> None:
        self.processes = [Process(options, url) for _ in range(PROCESSES)]
        self.front = Balancer([each.port for each in self.processes])
        self.back = Balancer([each.backend_port for each in self.processes])

    @property
    def port(self) -> int:
        return self.front.port

    @property
    def backend_port(self) -> int:
        return self.back.port

    async def open(self) -> None:
        for each in (self.front, self.back, *(each.network for each in self.processes)):
            await each.start()

    async def close(self) -> None:
        for each in (self.front, self.back, *(each.network for each in self.processes)):
            await each.stop()

    def start(self) -> None:
        for each in self.processes:
            each.start()

    def kill(self) -> None:
        for each in self.processes:
            each.kill()


class PatientBackend(Backend):
    """Takes a server whose engine is away for one that is away itself."""

    def __init__(self, cluster: Cluster) -> None:
        address = "http://127.0.0.1:{}/backend"
        super().__init__(address.format(cluster.backend_port))
        self._each = [Backend(address.format(each.backend_port)) for each in cluster.processes]

    async def newest(self) -> str:
        """Of all processes: some may not have read what another has answered."""
        work = [each.call("head") for each in self._each]
        heads = await asyncio.gather(*work, return_exceptions=True)
        found = [head for head in heads if isinstance(head, str)]
        if not found:
            raise ConnectionError("no process answers")
        return max(found, key=lambda head: place(head)[1])

    async def close(self) -> None:
        await asyncio.gather(super().close(), *(each.close() for each in self._each))

    async def call(self, command: str, **params: Any) -> Any:
        try:
            return await super().call(command, **params)
        except Refused as refusal:
            if str(refusal) in REFUSED:
                raise ConnectionError(str(refusal)) from refusal
            raise


class ClusterRun(Run):
    server: Cluster

    def __init__(self, seed: int, mode: str, folder: str, engine: Engine, url: str) -> None:
        self._engine = engine
        self._url = url
        self._engine_lock = asyncio.Lock()
        self._engine_chance = random.Random(f"{seed} faults")
        super().__init__(seed, mode, "", folder)
        self.application.backend = PatientBackend(self.server)

    def make_server(self, options: dict[str, Any], breakage: str) -> Any:
        return Cluster(options, self._url)

    async def run(self) -> Outcome:
        await self.server.open()
        supervising = asyncio.create_task(self._supervise())
        try:
            return await super().run()
        finally:
            supervising.cancel()
            await self.server.close()

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            for process in self.server.processes:
                process.go_on()

    @property
    def relay_fault(self) -> str:
        chance = self._engine_chance
        return chance.choice(["none", super().relay_fault, *FAULTS])

    async def _restart(self) -> None:
        """Others kill one process; here that is one fault of several."""

    async def _kill(self) -> None:
        process = self._engine_chance.choice(self.server.processes)
        process.kill()
        process.start()

    async def _suspend_process(self) -> None:
        process = self._engine_chance.choice(self.server.processes)
        process.suspend()
        await asyncio.sleep(self._engine_chance.uniform(0.1, 0.8))
        process.wake()

    async def _cut_off(self) -> None:
        """From the engine alone: its clients stay."""
        network = self._engine_chance.choice(self.server.processes).network
        network.hold()
        await asyncio.sleep(self._engine_chance.uniform(0.05, 0.5))
        network.cut()
        network.go_on()

    async def _stop_engine(self) -> None:
        async with self._engine_lock:
            accepted, history = self.application.accepted, self.application.history
            await asyncio.to_thread(self._engine.stop)
            await asyncio.to_thread(self._engine.start)
            if self._url.startswith("redis"):  # it has forgotten everything
                while history.knows(epoch := await self._epoch()):
                    await asyncio.sleep(0.02)
                history.begun(epoch, accepted)

    async def _epoch(self) -> str:
        backend = self.application.backend
        return place(await self.application._until_done(lambda: backend.call("head")))[0]


def _server_of(url: str) -> int | str:
    parts = urlsplit(url)
    if parts.port is not None:
        return parts.port
    return f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"


def _through(port: int, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "redis":
        return f"redis://127.0.0.1:{port}"
    options = "sslmode=disable&gssencmode=disable"
    return f"postgresql://postgres@127.0.0.1:{port}{parts.path}?{options}"


async def run_seed(seed: int, mode: str, engine: Engine, url: str) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return await ClusterRun(seed, mode, folder, engine, url).run()


@contextmanager
def postgresql() -> Iterator[tuple[Engine, str]]:
    with run_postgres() as server, server.database() as url:
        yield server, url


@contextmanager
def valkey() -> Iterator[tuple[Engine, str]]:
    server = Valkey(free_port())
    server.start()
    try:
        yield server, server.url
    finally:
        server.stop(abruptly=True)


STARTED = {"postgresql": postgresql, "valkey": valkey}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-5")
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--mode", choices=MODES, action="append")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    failed = 0
    for name in options.engine or ENGINES:
        for seed in range(int(first), int(last or first) + 1):
            for mode in options.mode or MODES:
                with STARTED[name]() as (engine, url):
                    outcome = asyncio.run(run_seed(seed, mode, engine, url))
                print(name, outcome, flush=True)
                failed += bool(outcome.problems)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
