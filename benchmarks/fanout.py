"""What does it cost Snorky to deliver a publication to many subscribers?

burst        a publisher sends all its messages at once, as separate calls
subscribed   the same, but the publisher is a subscriber and has at most --window calls unanswered
paced        --rate messages a second for --seconds: nothing can be joined
subscribers  growing audiences (--subscribers): is the cost per delivery flat?
channels     growing numbers of channels (--channels), one subscriber for each: is the cost per
             message flat?
bystander    what a client's call waits while one publication goes to --receivers

In the last three a message is published when all before it have been delivered and answered, so
that nothing is joined. Where the system does not allow enough connections, each is in several
channels, and all of them are published on at once; the report says so.

The figure to compare is the server's CPU time per delivery: it survives a noisy machine, which
throughput and latency do not.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from harness import Figures
from peers import Peer
from program import Program, main
from runs import SLOW, Benchmark, Case, Column, Rig

SCENARIOS = ("burst", "subscribed", "paced", "subscribers", "channels", "bystander")
MOST_CLIENTS_OF_CHANNELS = 10_000
ONE_CHANNEL = ("nchan",)
"""Servers whose connections belong to one channel, and that answer no calls."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="(all)")
    add("--clients", type=int, default=1000, help="subscribers of burst, subscribed, paced (1000)")
    add("--messages", type=int, default=500, help="of burst and subscribed (500)")
    add("--window", type=int, default=16, help="calls without an answer, of subscribed (16)")
    add("--rate", type=float, default=20, help="messages a second, of paced (20)")
    add("--seconds", type=float, default=4, help="of paced (4)")
    add("--warm-up", type=int, default=100, help="messages before the measured ones (100)")
    add(
        "--subscribers",
        type=int,
        nargs="+",
        default=[100, 1000, 10_000, 50_000],
        help="audiences (100 1000 10000 50000)",
    )
    add(
        "--channels",
        type=int,
        nargs="+",
        default=[1, 100, 10_000, 100_000],
        help="numbers of channels (1 100 10000 100000)",
    )
    add("--deliveries", type=int, default=200_000, help="to each audience (200000)")
    add("--channel-messages", type=int, default=2000, help="to each number of channels (2000)")
    add("--receivers", type=int, default=50_000, help="of a publication, for bystander (50000)")


SHORT: dict[str, Any] = {
    "clients": 50,
    "messages": 50,
    "seconds": 0.5,
    "warm_up": 10,
    "subscribers": [10, 100],
    "channels": [1, 200],
    "deliveries": 1000,
    "channel_messages": 100,
    "receivers": 300,
}

PUBLICATION = (
    Column("CPU us per delivery", "cpu_us_per_delivery", spread=True),
    Column("deliveries/s", "deliveries_per_second", throughput=True),
    Column("p50 ms", "p50_us", scale=1e-3),
    Column("p99 ms", "p99_us", scale=1e-3),
    Column("server CPU", "server_cpu_share"),
    Column("generator CPU", "generator_cpu_share"),
)


def benchmarks(options: argparse.Namespace) -> Sequence[Benchmark]:
    servers = options.servers
    several = [name for name in servers if name not in ONE_CHANNEL]
    quick = [name for name in several if name not in SLOW]
    grown = [name for name in several if name in ("snorky", "limit")]
    chosen = options.scenarios
    flat_out = [
        Case(name, servers if name != "subscribed" else quick, partial(deliver, options, name))
        for name in ("burst", "subscribed", "paced")
        if name in chosen
    ]
    audiences = [
        Case(f"{count:,}", grown, partial(deliver_to, options, count))
        for count in options.subscribers
        if "subscribers" in chosen
    ]
    channels = [
        Case(f"{count:,}", grown, partial(deliver_on, options, count))
        for count in options.channels
        if "channels" in chosen
    ]
    bystander = [Case(f"{options.receivers:,}", quick, partial(stand_by, options))]
    found = [
        Benchmark(
            "fanout",
            "Fan-out",
            f"{options.clients:,} subscribers of one channel, frames of {options.frame_bytes} "
            f"bytes, one core for the server. burst: {options.messages} messages at once; "
            f"subscribed: the publisher is a subscriber, {options.window} calls outstanding; "
            f"paced: {options.rate:g} messages a second",
            flat_out,
            PUBLICATION,
            "cpu_us_per_delivery",
            plots=[("burst", "Fan-out in a burst"), ("paced", "Paced fan-out")],
            rounds=options.rounds,
        ),
        Benchmark(
            "subscribers",
            "Fan-out to growing audiences",
            f"One message at a time, {options.deliveries:,} deliveries in all, to as many "
            "subscribers as the first column says",
            audiences,
            PUBLICATION,
            "cpu_us_per_delivery",
            growth="subscribers",
            rounds=options.rounds,
        ),
        Benchmark(
            "channels",
            "Growing numbers of channels",
            "One message at a time, each to the one subscriber of one of as many channels as the "
            f"first column says, on at most {MOST_CLIENTS_OF_CHANNELS:,} connections",
            channels,
            (Column("CPU us per message", "cpu_us_per_message", spread=True), *PUBLICATION[2:]),
            "cpu_us_per_message",
            growth="channels",
            rounds=options.rounds,
        ),
        Benchmark(
            "bystander",
            "A bystander's calls during a large fan-out",
            "One client calls all the time while publications go to as many receivers as the "
            "first column says",
            bystander if "bystander" in chosen else [],
            (
                Column("its p50 ms", "bystander_p50_us", scale=1e-3),
                Column("its p99 ms", "bystander_p99_us", scale=1e-3),
                Column("its longest ms", "bystander_max_us", scale=1e-3, spread=True),
                Column("delivered after ms", "max_us", scale=1e-3),
                Column("generator CPU", "generator_cpu_share"),
            ),
            "bystander_max_us",
            rounds=options.rounds,
        ),
    ]
    return [one for one in found if one.cases]


def deliver(options: argparse.Namespace, scenario: str, rig: Rig, peer: Peer) -> Figures:
    slow = SLOW.get(peer.name, 1)
    given: dict[str, object] = {
        "clients": rig.connections(options.clients),
        "messages": max(10, options.messages // slow),
        "warm_up": max(5, options.warm_up // slow),
    }
    seconds = 0.0
    if scenario == "subscribed":
        given |= {"window": options.window, "publisher_subscribed": True}
    if scenario == "paced":
        rate = max(1, options.rate / slow)
        messages = max(3, round(rate * options.seconds))
        seconds = messages / rate
        given |= {"rate": rate, "messages": messages}
    return rig.measure(peer, "fanout", longer=seconds, **given)


def deliver_to(options: argparse.Namespace, receivers: int, rig: Rig, peer: Peer) -> Figures:
    audience = reach(rig, receivers)
    messages = max(4, options.deliveries // receivers) * audience["batch"]
    return rig.measure(
        peer, "fanout", messages=messages, warm_up=2 * audience["batch"], lockstep=True, **audience
    )


def deliver_on(options: argparse.Namespace, channels: int, rig: Rig, peer: Peer) -> Figures:
    clients = rig.connections(min(channels, MOST_CLIENTS_OF_CHANNELS))
    return rig.measure(
        peer,
        "fanout",
        clients=clients,
        channels=channels,
        subscriptions=-(-channels // clients),
        messages=options.channel_messages,
        warm_up=max(10, options.channel_messages // 10),
        lockstep=True,
    )


def stand_by(options: argparse.Namespace, rig: Rig, peer: Peer) -> Figures:
    audience = reach(rig, options.receivers)
    return rig.measure(
        peer,
        "fanout",
        messages=5 * audience["batch"],
        warm_up=2 * audience["batch"],
        lockstep=True,
        bystander=True,
        **audience,
    )


def reach(rig: Rig, receivers: int) -> dict[str, int]:
    """The options with which one publication has so many receivers."""
    channels = -(-receivers // rig.most_connections)
    clients = -(-receivers // channels)
    if channels > 1:
        rig.note(
            f"{receivers:,} receivers are {clients:,} connections in {channels} channels each, "
            "all published on at once: the system allows too few open files for more "
            "(`ulimit -Hn`)"
        )
    return {
        "clients": clients,
        "channels": channels,
        "subscriptions": channels,
        "batch": channels,
    }


PROGRAM = Program(
    "fanout",
    __doc__ or "",
    ("snorky", "ws"),
    add_options,
    SHORT,
    benchmarks,
    rounds=3,
)

if __name__ == "__main__":
    main(PROGRAM)
