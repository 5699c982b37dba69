"""What does a delivery cost where several processes share the work, beside one that does it all?

--subscribers of one channel are spread over N processes that an engine joins; one process with the
broker in memory has all of them. A publisher, who is connected to one process, publishes

burst   --messages, as calls that do not wait for each other
paced   --rate messages a second for --seconds: nothing can be joined

Peers, in two processes each: Socket.IO with its adapter for Redis, Django Channels with
channels_redis, over the same Valkey. Those that take ten times as long get a fifth of the
subscribers, of the messages and of the rate: the figures are for each delivery.

The figure is the CPU time of all servers together, for each delivery; the engine's own is beside
it. It is CPU time, so that it counts although the machine has fewer cores than there are processes.
Every byte that a subscriber gets is counted: a message that is lost or doubled fails the run.

python benchmarks/cluster.py [--engines valkey postgresql] [--processes 2 4]
                             [--peers socketio channels] [--short] [--out]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import harness
from engines import STARTED, cpu_seconds_of
from listeners import DIALECTS, Crowd, connect
from peers import PEERS as SERVERS

SERVICES = harness.HERE / "servers" / "snorky_services.py"
CASES = ("burst", "paced")
PEERS = ("socketio", "channels")
PEER_PROCESSES = 2
SLOW = {"channels": 5}
Figures = dict[str, float]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--engines", nargs="+", choices=[*STARTED], default=["valkey"], metavar="ENGINE")
    add("--processes", nargs="+", type=int, default=[2, 4], help="(2 4)")
    add("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="(all)")
    add("--subscribers", type=int, default=1000, help="of all processes together (1000)")
    add("--messages", type=int, default=500, help="of burst (500)")
    add("--rate", type=float, default=20, help="messages a second, of paced (20)")
    add("--seconds", type=float, default=5, help="of paced (5)")
    add("--rounds", type=int, default=3, help="of which the median is shown, with the range (3)")
    add("--short", action="store_true", help="a small run of some seconds: does it all work?")
    add("--out", type=Path, nargs="?", const=harness.HERE / "results", help="keep it there")
    options = parser.parse_args(arguments)
    if options.short:
        options.subscribers, options.messages, options.seconds, options.rounds = 20, 50, 0.5, 1
        options.processes = options.processes[:1]
    return options


@dataclass(frozen=True)
class Way:
    """What is measured: so many processes of a server, joined by an engine. None: memory."""

    server: str
    engine: str | None
    processes: int

    @property
    def name(self) -> str:
        server = "" if self.server == "snorky" else f"{SERVERS[self.server].title}, "
        return f"{server}{self.engine or 'memory'}, {self.processes}"


# Servers


@contextmanager
def serving(url: str | None) -> Iterator[tuple[int, int]]:
    """One process of Snorky: its port, and the id of the process."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    broker = [] if url is None else ["--broker", url]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "snorky", "serve", str(SERVICES), "--log-level", "error"),
            *("--port", str(port), "--backend-port", "0", "--drain", "0", *broker),
        ],
        env={**os.environ, "SNORKY_API_KEY": "benchmark"},
    )
    try:
        ends = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > ends:
                    raise harness.BenchmarkError("Snorky does not start") from error
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving_peer(
    name: str, command: Sequence[str], url: str, versions: dict[str, str]
) -> Iterator[tuple[int, int]]:
    """One process of a peer, which the engine joins with others."""
    long = str(1000 * 3600)  # no byte of a ping among those that are counted
    environment = {**os.environ, "PORT": "0", "ENGINE": url, "PING_INTERVAL_MS": long}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        line = harness.read_line(process, harness.SECONDS_TO_START)
        if not line:
            raise harness.BenchmarkError(f"{SERVERS[name].title} does not start")
        told = json.loads(line)
        versions |= told["versions"]
        yield told["port"], process.pid
    finally:
        harness.stop(process)


# Measuring


def measure(way: Way, options: argparse.Namespace, versions: dict[str, dict[str, str]]) -> Figures:
    less = SLOW.get(way.server, 1)
    subscribers = max(2, options.subscribers // less)
    rate = options.rate / less
    counts = {
        "burst": max(1, options.messages // less),
        "paced": max(1, round(rate * options.seconds)),
    }
    with ExitStack() as stack:
        url, engine_pid = (None, None)
        if way.engine is not None:
            url, engine_pid = stack.enter_context(STARTED[way.engine]())
        servers = []
        for _ in range(way.processes):
            if way.server == "snorky":
                servers.append(stack.enter_context(serving(url)))
            else:
                assert url
                command = SERVERS[way.server].prepare()
                told = versions.setdefault(way.server, {})
                servers.append(stack.enter_context(serving_peer(way.server, command, url, told)))
        dialect = DIALECTS[way.server]
        crowd = Crowd([port for port, _ in servers], subscribers, dialect)
        stack.callback(crowd.close)
        publisher = stack.enter_context(connect(servers[0][0], dialect))
        figures: Figures = {}
        crowd.hear(publisher, counts["burst"], None)  # warm
        for case in CASES:
            before = sum(cpu_seconds_of(pid) for _, pid in servers)
            before_engine = cpu_seconds_of(engine_pid) if engine_pid else 0.0
            deliveries = crowd.hear(publisher, counts[case], rate if case == "paced" else None)
            spent = sum(cpu_seconds_of(pid) for _, pid in servers) - before
            figures[f"{case}_us"] = spent / deliveries * 1e6
            spent = (cpu_seconds_of(engine_pid) if engine_pid else 0.0) - before_engine
            figures[f"{case}_engine_us"] = spent / deliveries * 1e6
        return figures


def rendered(found: dict[str, list[Figures]], options: argparse.Namespace) -> str:
    lines = [
        f"{options.subscribers:,} subscribers of one channel. CPU us per delivery of all servers "
        "together: median (range), and as a multiple of memory's of the same round.",
        "",
        "| broker, processes | case | us per delivery | x memory | engine us |",
        "|---|---|---|---|---|",
    ]
    alone = found["memory, 1"]
    for name, rounds in found.items():
        for case in CASES:
            values = [each[f"{case}_us"] for each in rounds]
            ratios = [
                value / base[f"{case}_us"]
                for value, base in zip(values, alone, strict=True)
                if base[f"{case}_us"]
            ]
            engine = statistics.median(each[f"{case}_engine_us"] for each in rounds)
            shown = (_spread(values), _spread(ratios) if ratios else "-", f"{engine:.2f}")
            lines.append(f"| {name} | {case} | {' | '.join(shown)} |")
    ours = found.get(Way("snorky", "valkey", PEER_PROCESSES).name, [])
    for peer in options.peers:
        title, theirs = SERVERS[peer].title, found[Way(peer, "valkey", PEER_PROCESSES).name]
        for case in CASES:
            ratios = [
                other[f"{case}_us"] / own[f"{case}_us"]
                for own, other in zip(ours, theirs, strict=False)
                if own[f"{case}_us"]
            ]
            if ratios:
                lines += ["", f"{title} takes {_spread(ratios)} times our CPU, {case}."]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    options = parse(sys.argv[1:])
    ways = [Way("snorky", None, 1)]
    ways += [Way("snorky", each, count) for each in options.engines for count in options.processes]
    ways += [Way(peer, "valkey", PEER_PROCESSES) for peer in options.peers]
    found: dict[str, list[Figures]] = {}
    versions: dict[str, dict[str, str]] = {}
    try:
        for _ in range(options.rounds):  # they take turns: a drift of the machine meets all
            for way in ways:
                found.setdefault(way.name, []).append(measure(way, options, versions))
    except harness.BenchmarkError as error:
        sys.exit(f"cluster: {error}")
    text = rendered(found, options)
    for name, parts in versions.items():
        told = ", ".join(f"{part} {version}" for part, version in parts.items())
        text += f"\n\n- {SERVERS[name].title}: {told}"
    print(text)
    if options.out:
        circumstances = harness.circumstances()
        options.out.mkdir(parents=True, exist_ok=True)
        facts = "\n".join(f"- {name}: {value}" for name, value in circumstances.items())
        (options.out / "cluster.md").write_text(f"# cluster\n\n{facts}\n\n{text}\n")
        kept = {"circumstances": circumstances, "versions": versions, "cluster": found}
        (options.out / "cluster.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
