"""What does a connection cost that does nothing: memory to keep it, CPU time to make it?

--clients connections, once without and once with a subscription of one channel. Memory is the
growth of the server's processes (PSS: pages they share count once); what the kernel holds for a
socket is not in it, and is the same for all. A hundred connections come before, so that what a
server needs once is not counted.
"""

import argparse
from collections.abc import Sequence
from functools import partial

from harness import BenchmarkError, Figures
from peers import Peer
from program import Program, main
from runs import SLOW, Benchmark, Case, Column, Rig

FEW = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clients", type=int, default=20_000, help="connections (20000)")


def benchmarks(options: argparse.Namespace) -> Sequence[Benchmark]:
    # nchan's connections are subscriptions.
    unsubscribed = [name for name in options.servers if name != "nchan"]
    return [
        Benchmark(
            "idle",
            "Idle connections",
            f"{options.clients:,} connections, a tenth of them for slow servers. idle: they do "
            "nothing; subscribed: each is subscribed to the same channel",
            [
                Case("idle", unsubscribed, partial(hold, options, 0)),
                Case("subscribed", options.servers, partial(hold, options, 1)),
            ],
            (
                Column("KB per connection", "kb_per_connection", spread=True),
                Column("CPU us per connect", "cpu_us_per_connect", spread=True),
                Column("connects/s", "connects_per_second", throughput=True),
                Column("connections", "connections"),
                Column("generator CPU", "generator_cpu_share"),
            ),
            "kb_per_connection",
            plots=[("idle", "Memory of an idle connection")],
            rounds=options.rounds,
        )
    ]


def hold(options: argparse.Namespace, subscriptions: int, rig: Rig, peer: Peer) -> Figures:
    clients = rig.connections(options.clients + FEW) - FEW
    if peer.name in SLOW:
        clients = max(FEW, clients // 10)
    with (
        rig.serving(peer) as server,
        rig.loading(peer, server, "hold", clients=FEW, subscriptions=subscriptions) as first,
    ):
        first.read(2 * rig.timeout)
        before, pids = server.memory_bytes(), server.pids()
        with rig.loading(
            peer, server, "hold", clients=clients, subscriptions=subscriptions
        ) as generator:
            figures = generator.read(2 * rig.timeout)
            grown = server.memory_bytes() - before
            if server.pids() != pids:
                raise BenchmarkError("it started or ended processes: their memory is unknown")
            generator.release()
            held = generator.read(rig.timeout)["held"]
    if held != clients:
        raise BenchmarkError(f"expected {clients} connections at the end, got {held:g}")
    return figures | {"kb_per_connection": grown / 1024 / clients}


PROGRAM = Program(
    "idle",
    __doc__ or "",
    ("snorky", "ws"),
    add_options,
    {"clients": 300},
    benchmarks,
)

if __name__ == "__main__":
    main(PROGRAM)
