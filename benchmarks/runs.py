"""Measuring: cases by servers by rounds, and what is kept of them.

Knows turns, progress, peers that are missing and servers that fail. What is measured is the
program's: it gives a Benchmark, whose cases each measure one server and return its figures. Every
measurement has a server process of its own. Within a round the servers take turns, and a ratio is
taken between figures of one round: a drift of the machine meets both.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
from harness import BenchmarkError, Figures, Generator, RunningServer, Server
from peers import PEERS, Peer

FILES_BESIDE_CONNECTIONS = 200
MOST_CONNECTIONS = 60_000
SLOW = {"tornado": 10, "python-socketio": 10, "channels": 25}
"""Servers that get so many times less work: their figures are per unit, and we are waiting."""


@dataclass
class Rig:
    """Where and with what everything is measured, and what a reader must be told of it."""

    generator: Path
    server_core: int
    generator_core: int
    most_connections: int
    """Of one process, for which the system allows the files."""
    timeout: float
    frame_bytes: int
    commands: dict[str, Sequence[str]] = field(default_factory=dict)
    """How the servers that are there are started."""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def prepare(self, names: Sequence[str]) -> dict[str, str]:
        """Install the servers; returns those that are missing, with the reason."""
        missing = {}
        for name in names:
            print(f"preparing {PEERS[name].title}", file=sys.stderr, flush=True)
            try:
                self.commands[name] = PEERS[name].prepare()
            except BenchmarkError as error:
                missing[name] = str(error)
        return missing

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def connections(self, wanted: int) -> int:
        """As many connections as wanted, or as the system allows."""
        if wanted > self.most_connections:
            self.note(
                f"{self.most_connections:,} connections where {wanted:,} were asked for: "
                "that is what the limit of open files allows (`ulimit -Hn`)"
            )
        return min(wanted, self.most_connections)

    @contextmanager
    def serving(self, peer: Peer, port: int = 0) -> Iterator[RunningServer]:
        server = Server(peer.title, self.commands[peer.name], peer.environment)
        with harness.running(server, self.server_core, port) as running:
            self.versions[peer.name] = running.versions
            yield running

    @contextmanager
    def loading(
        self, peer: Peer, server: RunningServer, workload: str, **options: object
    ) -> Iterator[Generator]:
        """Run a workload of load/main.c against the server; an option's dashes are underscores."""
        named = {name.replace("_", "-"): value for name, value in options.items()}
        given = {
            "port": server.port,
            "dialect": peer.dialect,
            "path": peer.path or None,
            "timeout": self.timeout,
            "frame-bytes": self.frame_bytes,
            **named,
        }
        pids = server.pids()
        with harness.generating(
            self.generator, self.generator_core, pids, workload, given
        ) as generator:
            yield generator

    def measure(
        self, peer: Peer, workload: str, *, longer: float = 0, **options: object
    ) -> Figures:
        """The figures of a workload against a new server.

        ``longer``: the seconds that it is told to take, beside those that the server needs.
        """
        with (
            self.serving(peer) as server,
            self.loading(peer, server, workload, **options) as generator,
        ):
            pids = server.pids()
            # Connecting, warming up, measuring, and the last messages each have the time.
            figures = generator.read(longer + 4 * self.timeout)
            if server.pids() != pids:
                raise BenchmarkError("it started or ended processes: their CPU time is unknown")
            return figures


def make_rig(timeout: float, frame_bytes: int) -> Rig:
    server_core, generator_core = harness.two_cores()
    files = harness.raise_descriptor_limit(MOST_CONNECTIONS)
    return Rig(
        harness.build("load"),
        server_core,
        generator_core,
        files - FILES_BESIDE_CONNECTIONS,
        timeout,
        frame_bytes,
    )


@dataclass(frozen=True)
class Case:
    name: str
    servers: Sequence[str]
    measure: Callable[[Rig, Peer], Figures]


@dataclass(frozen=True)
class Column:
    """A figure in the table: its key among the figures, and how it is written."""

    title: str
    key: str
    scale: float = 1
    spread: bool = False
    """Whether the lowest and the highest of the rounds are written too."""
    throughput: bool = False
    """Whether it is only a floor where the generator was busy all the time."""


@dataclass(frozen=True)
class Benchmark:
    name: str
    title: str
    text: str
    cases: Sequence[Case]
    columns: Sequence[Column]
    ratio: str
    """The figure that is compared between servers."""
    plots: Sequence[tuple[str, str]] = ()
    """Cases whose figure is worth a picture, each with its caption."""
    growth: str = ""
    """What grows from case to case, if that is what it shows: the axis of its picture."""
    rounds: int = 1


Results = dict[str, Any]
"""What is kept as JSON: see ``measure_all``."""


def measure_all(benchmarks: Sequence[Benchmark], servers: Sequence[str], rig: Rig) -> Results:
    """Measure every case of every benchmark, those of ``servers`` that can be started.

    ``results["benchmarks"][benchmark]["cases"][case]`` is a list with an object for every round,
    which maps servers to their figures; ``["faults"][case]`` maps servers to what went wrong.
    """
    wanted = {name for one in benchmarks for case in one.cases for name in case.servers}
    missing = rig.prepare([name for name in servers if name in wanted])
    there = [name for name in servers if name in rig.commands]
    results: Results = {
        "circumstances": harness.circumstances(),
        "versions": rig.versions,
        "missing": missing,
        "notes": rig.notes,
        "benchmarks": {},
    }
    progress = Progress(
        sum(
            one.rounds * len([name for name in there if name in case.servers])
            for one in benchmarks
            for case in one.cases
        )
    )
    for one in benchmarks:
        cases: dict[str, list[dict[str, Figures]]] = {case.name: [] for case in one.cases}
        faults: dict[str, dict[str, str]] = {case.name: {} for case in one.cases}
        results["benchmarks"][one.name] = {"cases": cases, "faults": faults}
        for number in range(one.rounds):
            # Whoever came last comes first: a drift of the machine meets all alike.
            order = there if number % 2 == 0 else there[::-1]
            for case in one.cases:
                cases[case.name].append({})
                for name in order:
                    if name not in case.servers:
                        continue
                    progress.next(f"{one.name}: {case.name}, {PEERS[name].title}")
                    if name in faults[case.name]:
                        continue
                    try:
                        cases[case.name][-1][name] = case.measure(rig, PEERS[name])
                    except BenchmarkError as error:
                        faults[case.name][name] = str(error)
                        progress.say(f"{one.name}: {case.name}, {PEERS[name].title}: {error}")
    progress.end()
    return results


class Progress:
    """Says on standard error what is being measured, and how much time is left."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.begun = 0
        self.start = time.monotonic()

    def next(self, what: str) -> None:
        text = f"[{self.begun + 1}/{self.total}] {what}"
        if self.begun >= 3:
            left = (time.monotonic() - self.start) / self.begun * (self.total - self.begun)
            about = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
            text += f" (about {about} left)"
        self.begun += 1
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        lead = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{lead}{text}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def faults_of(results: Results) -> list[str]:
    return [
        f"{name}: {case}, {PEERS[server].title}: {fault}"
        for name, one in results["benchmarks"].items()
        for case, faults in one["faults"].items()
        for server, fault in faults.items()
    ]
