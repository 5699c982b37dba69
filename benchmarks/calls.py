"""What does a call to a service cost, all the way: parse, check, dispatch, reply?

--clients connections call `echo` all the time, each with 1 call under way and each with 16. Every
answer is checked: it must hold what that very call has sent. A server has one core to itself.
"""

import argparse
from collections.abc import Sequence
from functools import partial

from harness import Figures
from peers import PEERS, Peer
from program import Program, main
from runs import Benchmark, Case, Column, Rig


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--clients", type=int, default=100, help="connections (100)")
    add("--outstanding", type=int, nargs="+", default=[1, 16], help="calls of each (1 16)")
    add("--seconds", type=float, default=1.5, help="of each measurement (1.5)")


def benchmarks(options: argparse.Namespace) -> Sequence[Benchmark]:
    servers = [name for name in options.servers if PEERS[name].calls]
    cases = [
        Case(f"x{count}", servers, partial(call, options, count)) for count in options.outstanding
    ]
    return [
        Benchmark(
            "calls",
            "Calls",
            f"{options.clients} connections, each with 1 (x1) or more calls under way",
            cases,
            (
                Column("CPU us per call", "cpu_us_per_call", spread=True),
                Column("calls/s", "calls_per_second", throughput=True, spread=True),
                Column("p50 ms", "p50_us", scale=1e-3),
                Column("p99 ms", "p99_us", scale=1e-3),
                Column("server CPU", "server_cpu_share"),
                Column("generator CPU", "generator_cpu_share"),
            ),
            "cpu_us_per_call",
            plots=[(case.name, f"Calls, {case.name[1:]} under way") for case in cases],
            rounds=options.rounds,
        )
    ]


def call(options: argparse.Namespace, outstanding: int, rig: Rig, peer: Peer) -> Figures:
    return rig.measure(
        peer,
        "calls",
        longer=2 * options.seconds,
        clients=options.clients,
        outstanding=outstanding,
        seconds=options.seconds,
    )


PROGRAM = Program(
    "calls",
    __doc__ or "",
    ("snorky", "ws"),
    add_options,
    {"clients": 10, "seconds": 0.3},
    benchmarks,
    rounds=3,
)

if __name__ == "__main__":
    main(PROGRAM)
