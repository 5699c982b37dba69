"""What does DataSync cost beside plain publishing: from a back end's request to clients' bytes?

--clients pages hold the same live list, a filter on one column. A web application posts requests
of --deltas changed rows each over HTTP; every page gets every row once, in order. The same rows
are then published on a channel of the same server with `PubSubBackend.publish`, by the same kind
of request, as one message: what DataSync adds is reading the deltas, finding the subscriptions
that match, and a frame for each delta.

burst   --requests requests, one after the other, as fast as they are answered
paced   --rate requests a second

Both are measured in each round, each with a server of its own. CPU time is that of the server for
each row that reached a client.
"""

import argparse
import http.client
import json
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness import BenchmarkError, Figures, RunningServer
from peers import Peer
from program import Program, main
from runs import Benchmark, Case, Column, Rig

FIRST_CALL_ID = 1002
"""Of load/clients.h."""
QUERY = ["==", "list", 1]
WARM_UP_REQUESTS = 2
PAD_BYTES = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--clients", type=int, default=1000, help="pages with the list (1000)")
    add("--deltas", type=int, default=100, help="changed rows in a request (100)")
    add("--requests", type=int, default=100, help="of burst (100)")
    add("--rate", type=float, default=10, help="requests a second, of paced (10)")
    add("--seconds", type=float, default=3, help="of paced (3)")


def benchmarks(options: argparse.Namespace) -> Sequence[Benchmark]:
    servers = [name for name in options.servers if name in ("snorky", "snorky-pure")]
    paced = max(1, round(options.rate * options.seconds))
    return [
        Benchmark(
            "datasync",
            "DataSync, from the back end to the clients",
            f"{options.clients:,} clients with the same list, {options.deltas} changed rows in a "
            f"request. burst: {options.requests} requests one after the other; paced: "
            f"{options.rate:g} a second. Beside it the same rows through PubSubBackend.publish",
            [
                Case("burst", servers, partial(compare, options, options.requests, 0.0)),
                Case("paced", servers, partial(compare, options, paced, 1 / options.rate)),
            ],
            (
                Column("CPU us per row delivered", "cpu_us_per_delta", spread=True),
                Column("published instead", "cpu_us_per_publication", spread=True),
                Column("ratio", "datasync_per_publication", spread=True),
                Column("rows/s", "deliveries_per_second", throughput=True),
                Column("p50 ms", "p50_us", scale=1e-3),
                Column("p99 ms", "p99_us", scale=1e-3),
                Column("server CPU", "server_cpu_share"),
                Column("generator CPU", "generator_cpu_share"),
            ),
            "cpu_us_per_delta",
            rounds=options.rounds,
        )
    ]


def compare(
    options: argparse.Namespace, requests: int, interval: float, rig: Rig, peer: Peer
) -> Figures:
    deltas = publish(options, requests, interval, rig, peer, DELTAS)
    messages = publish(options, requests, interval, rig, peer, MESSAGES)
    ours, plain = deltas["cpu_us_per_delivery"], messages["cpu_us_per_delivery"]
    return deltas | {
        "cpu_us_per_delta": ours,
        "cpu_us_per_publication": plain,
        "datasync_per_publication": ours / plain,
    }


@dataclass(frozen=True)
class Way:
    """How rows travel: what a client says to get them, and what the web application posts."""

    backend_service: str
    command: str
    service: str

    def subscription(self, backend: "Backend") -> dict[str, Any]:
        if self is MESSAGES:
            return {"command": "subscribe", "params": {"channel": "rows"}}
        items = [{"dealer": "Rows", "query": QUERY}]
        token = backend.call(self.backend_service, "authorizeSubscription", items=items)
        return {"command": "acquireSubscription", "params": {"token": token}}

    def params(self, deltas: list[Any]) -> dict[str, Any]:
        return {"channel": "rows", "message": deltas} if self is MESSAGES else {"deltas": deltas}


MESSAGES = Way("pubsub_backend", "publish", "pubsub")
DELTAS = Way("datasync_backend", "publishDeltas", "datasync")


class Backend:
    """The web application's connection to the server's back end, kept open."""

    def __init__(self, port: int, timeout: float) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def call(self, service: str, command: str, **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 1}
        body = json.dumps({"service": service, "message": message}, separators=(",", ":"))
        self._connection.request("POST", "/backend", body, {"X-Backend-Key": "benchmark"})
        response = self._connection.getresponse()
        text = response.read()
        answer = json.loads(text).get("message", {})
        if response.status != 200 or answer.get("type") != "response":
            raise BenchmarkError(f"expected {command} to succeed, got {response.status} {text!r}")
        return answer["data"]


class Rows:
    """Rows to publish, numbered from 0."""

    def __init__(self, pad_bytes: int) -> None:
        self._pad = "x" * pad_bytes
        self._next = 0

    def deltas(self, count: int) -> list[Any]:
        first, self._next = self._next, self._next + count
        at = time.monotonic_ns()
        return [
            {
                "type": "insert",
                "model": "Row",
                "data": {"list": 1, "seq": seq, "at": at, "pad": self._pad},
            }
            for seq in range(first, first + count)
        ]


def publish(
    options: argparse.Namespace,
    requests: int,
    interval: float,
    rig: Rig,
    peer: Peer,
    way: Way,
) -> Figures:
    with serving(rig, peer) as (server, backend), tempfile.TemporaryDirectory() as folder:
        clients = rig.connections(options.clients)
        texts = Path(folder) / "subscriptions"
        with texts.open("w") as file:
            for _ in range(clients):
                message = way.subscription(backend) | {"callId": FIRST_CALL_ID}
                file.write(json.dumps({"service": way.service, "message": message}) + "\n")
        rows = Rows(PAD_BYTES)

        def post() -> None:
            params = way.params(rows.deltas(options.deltas))
            backend.call(way.backend_service, way.command, **params)

        with rig.loading(
            peer,
            server,
            "listen",
            clients=clients,
            subscriptions=0,
            texts=texts,
            frame_bytes=PAD_BYTES,
            warm_up=WARM_UP_REQUESTS * options.deltas,
            messages=requests * options.deltas,
        ) as generator:
            generator.read(2 * rig.timeout)  # everybody has subscribed
            for _ in range(WARM_UP_REQUESTS):
                post()
            generator.tell("measure")
            generator.read(2 * rig.timeout)
            due = time.monotonic()
            for _ in range(requests):
                time.sleep(max(0, due - time.monotonic()))
                due += interval
                post()
            return generator.read(rig.timeout)


@contextmanager
def serving(rig: Rig, peer: Peer) -> Iterator[tuple[RunningServer, Backend]]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    environment = {**peer.environment, "BACKEND_PORT": str(port)}
    with rig.serving(replace(peer, environment=environment)) as server:
        yield server, Backend(port, rig.timeout)


PROGRAM = Program(
    "datasync",
    __doc__ or "",
    ("snorky",),
    add_options,
    {"clients": 20, "requests": 3, "seconds": 0.3},
    benchmarks,
    rounds=3,
)

if __name__ == "__main__":
    main(PROGRAM)
