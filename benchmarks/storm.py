"""The server of many clients is restarted: when are all of them served again, and at what cost?

--clients connections, each subscribed to one channel. The server is killed and started again on
the same port. Each client that notices tries again after a random delay of 0.1 to 0.5 s, and after
each failure, until it is connected and subscribed. Then a publication must reach everybody.

Time counts from when the new server listens: how long it takes to start is not in it.
"""

import argparse
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from harness import BenchmarkError, Figures
from peers import Peer
from program import Program, main
from runs import SLOW, Benchmark, Case, Column, Rig


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clients", type=int, default=10_000, help="connections (10000)")


def benchmarks(options: argparse.Namespace) -> Sequence[Benchmark]:
    return [
        Benchmark(
            "storm",
            "All clients come back",
            f"{options.clients:,} clients whose server is restarted, a tenth of them for slow "
            "servers; a client is served when it is subscribed again",
            [Case("restart", options.servers, partial(restart, options))],
            (
                Column("CPU us per client", "cpu_us_per_client", spread=True),
                Column("last served after s", "seconds_to_last", spread=True),
                Column("p50 s", "p50_seconds"),
                Column("p99 s", "p99_seconds"),
                Column("attempts", "attempts"),
                Column("clients", "clients"),
            ),
            "cpu_us_per_client",
            plots=[("restart", "Connecting and subscribing again")],
            rounds=options.rounds,
        )
    ]


def restart(options: argparse.Namespace, rig: Rig, peer: Peer) -> Figures:
    clients = max(10, rig.connections(options.clients) // (10 if peer.name in SLOW else 1))
    with (
        rig.serving(peer, port_of_no_client()) as first,
        rig.loading(peer, first, "storm", clients=clients) as generator,
    ):
        connected = generator.read(3 * rig.timeout)["connected"]
        first.kill()
        with rig.serving(peer, first.port) as second:
            if second.port != first.port:
                rig.note(f"storm: {peer.title} cannot be told its port and got another one")
            generator.tell(" ".join(map(str, [second.port, *second.pids()])))
            figures = generator.read(3 * rig.timeout)
    if figures["clients"] != connected:
        raise BenchmarkError(f"expected {connected:g} clients again, got {figures['clients']:g}")
    return figures


def port_of_no_client() -> int:
    """A free port that the system gives to nobody who connects.

    While the server is away, a client that tries again could get the server's port as its own.
    """
    range_of_clients = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    for port in range(int(range_of_clients.split()[0]) - 1, 1023, -1):
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port
    raise BenchmarkError("expected a free port below those of clients, found none")


PROGRAM = Program(
    "storm",
    __doc__ or "",
    ("snorky", "tornado-door", "ws"),
    add_options,
    {"clients": 200},
    benchmarks,
)

if __name__ == "__main__":
    main(PROGRAM)
