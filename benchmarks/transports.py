"""What does one connected client cost over each way in?

WebSocket by both doors, Server-Sent Events and long polling, every transport of SockJS and of
Socket.IO, and the ways through ASGI. --clients clients connect, subscribe to one channel, and then:

idle    do nothing: the memory of a client, and the CPU time of its signs of life
paced   get --messages messages, each published when everybody has the one before
burst   get --burst messages that are published at once
calls   of a hundred of them, one after the other and all clients at once

Over plain HTTP a client receives by one connection and sends by another, which is closed before the
memory is looked at, as browsers do after a while. Every message has to come once, in order and
unchanged; every call is answered with what it sent. Messages are published over a WebSocket, which
is in the figures of all ways alike, 20 us for each message and not for each delivery.

CPU time is that of the server. The signs of life are counted on a server that gives one each
--heartbeat seconds instead of the usual 25 to 90, and then multiplied out.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import uvloop
import ways
from crowds import cpu_at_rest, cpu_seconds, gathering
from harness import Figures, RunningServer
from peers import SERVERS, Peer
from program import Program, main
from runs import Benchmark, Case, Column, Rig
from ways import Client

FEW = 100
"""Clients before those that are measured, so that what a server needs once is not counted."""
CALLERS = 100
MOST_RESTING = 300
"""Clients whose signs of life are counted: every server can give each of them one a second."""
BEATS = 3


@dataclass(frozen=True)
class Address:
    path: str
    heartbeat: float
    """Seconds between signs of life, where nothing else is said."""


@dataclass(frozen=True)
class Way:
    name: str
    client: type[Client]
    addresses: Mapping[str, Address]
    """By the server that has it."""


COMET = {"snorky": Address("/comet", 25), "asgi": Address("/comet", 25)}
SOCKJS = {"snorky": Address("/sockjs", 25)}
SOCKETIO = {"snorky": Address("/socket.io", 25)}

WAYS = (
    Way(
        "WebSocket",
        ways.WebSocketClient,
        {
            "snorky": Address("/ws", 90),
            "tornado-door": Address("/door", 90),
            "asgi": Address("/ws", 20),
        },
    ),
    Way("Server-Sent Events", ways.EventsClient, COMET),
    Way("long polling", ways.PollClient, COMET),
    Way("SockJS, WebSocket", ways.SockJSWebSocketClient, SOCKJS),
    Way(
        "SockJS, raw WebSocket", ways.WebSocketClient, {"snorky": Address("/sockjs/websocket", 25)}
    ),
    Way("SockJS, xhr-streaming", ways.XHRStreamingClient, SOCKJS),
    Way("SockJS, eventsource", ways.EventSourceClient, SOCKJS),
    Way("SockJS, xhr polling", ways.XHRClient, SOCKJS),
    Way("Socket.IO, WebSocket", ways.SocketIOWebSocketClient, SOCKETIO),
    Way("Socket.IO, polling", ways.SocketIOPollingClient, SOCKETIO),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    names = [way.name for way in WAYS]
    add("--ways", nargs="+", choices=names, metavar="WAY", default=names, help="(all)")
    add("--clients", type=int, default=1000, help="of each way (1000)")
    add("--messages", type=int, default=10, help="of paced (10)")
    add("--burst", type=int, default=50, help="messages at once (50)")
    add("--calls", type=int, default=10, help="of each caller (10)")
    add("--heartbeat", type=float, default=1.0, help="seconds between signs of life (1)")


def benchmarks(options: argparse.Namespace) -> Sequence[Benchmark]:
    return [
        Benchmark(
            "transports",
            "What each way in costs",
            f"{options.clients:,} subscribed clients. Memory of one, CPU time of connecting and "
            f"subscribing, of a delivery (paced: one message at a time; burst: {options.burst} at "
            "once), of a call with its answer, and of an hour in which nothing is said",
            [
                Case(
                    way.name,
                    [name for name in way.addresses if name in options.servers],
                    partial(measure, options, way),
                )
                for way in WAYS
                if way.name in options.ways
            ],
            (
                Column("KB per client", "kb_per_client", spread=True),
                Column("CPU us: connect", "cpu_us_per_connect", spread=True),
                Column("paced delivery", "cpu_us_per_paced_delivery", spread=True),
                Column("burst delivery", "cpu_us_per_burst_delivery", spread=True),
                Column("call", "cpu_us_per_call", spread=True),
                Column("sign of life", "cpu_us_per_beat", spread=True),
                Column("CPU ms: idle hour", "cpu_ms_per_idle_hour", spread=True),
                Column("clients", "clients"),
            ),
            "cpu_us_per_paced_delivery",
            rounds=options.rounds,
        )
    ]


def measure(options: argparse.Namespace, way: Way, rig: Rig, peer: Peer) -> Figures:
    # Each client has two connections while it connects, and so has the server.
    clients = rig.connections(2 * (options.clients + FEW)) // 2 - FEW
    address = way.addresses[peer.name]
    with serving(rig, peer) as server:
        figures = run(work(options, way, address.path, clients, server, rig), rig.generator_core)
    often = replace(peer, environment={**peer.environment, "HEARTBEAT": str(options.heartbeat)})
    with serving(rig, often) as server:
        resting = min(clients, MOST_RESTING)
        figures |= run(signs_of_life(way, address.path, resting, server, rig), rig.generator_core)
    beats = 3600 / address.heartbeat
    return figures | {"cpu_ms_per_idle_hour": figures["cpu_us_per_beat"] / 1000 * beats}


def serving(rig: Rig, peer: Peer) -> AbstractContextManager[RunningServer]:
    if peer.name != "asgi":  # one program has both doors, and every other way
        rig.commands[peer.name] = [sys.executable, str(SERVERS / "snorky_edges.py")]
    return rig.serving(peer)


def run(work: Coroutine[Any, Any, Figures], core: int) -> Figures:
    """Generate the load in this process, on a core of its own."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    finally:
        os.sched_setaffinity(0, before)


async def work(
    options: argparse.Namespace, way: Way, path: str, clients: int, server: RunningServer, rig: Rig
) -> Figures:
    """Everything but the signs of life."""
    pids = server.pids()
    own, start = time.process_time(), time.monotonic()
    async with gathering(server.port, rig.timeout) as here:
        await here.join(way.client, path, FEW)
        begin, memory = await cpu_at_rest(pids), server.memory_bytes()
        await here.join(way.client, path, clients)
        connecting = await cpu_at_rest(pids) - begin
        memory = server.memory_bytes() - memory

        publisher = await here.publisher("/ws", rig.frame_bytes)
        await publisher.publish(2)
        begin = await cpu_at_rest(pids)
        await publisher.publish(options.messages)
        paced = await cpu_at_rest(pids) - begin
        await publisher.publish(options.burst, at_once=True)
        burst = await cpu_at_rest(pids) - begin - paced

        callers = here.subscribers[-CALLERS:]
        await here.call(callers, 1, rig.frame_bytes)  # opens what they send by
        begin = await cpu_at_rest(pids)
        await here.call(callers, options.calls, rig.frame_bytes)
        calling = await cpu_at_rest(pids) - begin
        await publisher.publish(1)  # what was repeated would have come before it

    receivers = FEW + clients
    return {
        "clients": clients,
        "kb_per_client": memory / 1024 / clients,
        "cpu_us_per_connect": connecting * 1e6 / clients,
        "cpu_us_per_paced_delivery": paced * 1e6 / options.messages / receivers,
        "cpu_us_per_burst_delivery": burst * 1e6 / options.burst / receivers,
        "cpu_us_per_call": calling * 1e6 / options.calls / len(callers),
        "generator_cpu_share": (time.process_time() - own) / (time.monotonic() - start),
    }


async def signs_of_life(
    way: Way, path: str, clients: int, server: RunningServer, rig: Rig
) -> Figures:
    """CPU time of one, after the first of each client."""
    pids = server.pids()
    async with gathering(server.port, rig.timeout) as here:
        await here.join(way.client, path, clients)
        await here.alive(clients)
        begin = cpu_seconds(pids)
        beats = await here.alive(BEATS * clients)
        cpu = cpu_seconds(pids) - begin
    return {"cpu_us_per_beat": cpu * 1e6 / beats}


PROGRAM = Program(
    "transports",
    __doc__ or "",
    ("snorky", "tornado-door", "asgi"),
    add_options,
    {"clients": 50, "messages": 3, "burst": 5, "calls": 2, "heartbeat": 0.2},
    benchmarks,
)

if __name__ == "__main__":
    main(PROGRAM)
