"""What does a delivery cost where several processes share the work, beside one that does it all?

--subscribers of one channel are spread over N processes that an engine joins; one process with the
broker in memory has all of them. A publisher, who is connected to one process, publishes

burst   --messages, as calls that do not wait for each other
paced   --rate messages a second for --seconds: nothing can be joined

The figure is the CPU time of all servers together, for each delivery; the engine's own is beside
it. It is CPU time, so that it counts although the machine has fewer cores than there are processes.
Every byte that a subscriber gets is counted: a message that is lost or doubled fails the run.

python benchmarks/cluster.py [--engines valkey postgresql] [--processes 2 4] [--short] [--out]
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import harness
from engines import STARTED, cpu_seconds_of

SERVICES = harness.HERE / "servers" / "snorky_services.py"
CASES = ("burst", "paced")
SECONDS_TO_ARRIVE = 120
Figures = dict[str, float]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--engines", nargs="+", choices=[*STARTED], default=["valkey"], metavar="ENGINE")
    add("--processes", nargs="+", type=int, default=[2, 4], help="(2 4)")
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


# Clients


def masked(service: str, command: str, **params: object) -> bytes:
    """A call as a WebSocket frame of a client, with a mask of zeros."""
    message = {"command": command, "params": params}
    text = json.dumps({"service": service, "message": message}).encode()
    head = (
        bytes([0x81, 0x80 | len(text)])
        if len(text) < 126
        else b"\x81\xfe" + (len(text).to_bytes(2, "big"))
    )
    return head + bytes(4) + text


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade"
        f"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    return connection


class Crowd:
    """Subscribers of one channel, all of whom get the same bytes."""

    def __init__(self, ports: Sequence[int], number: int) -> None:
        self._selector = selectors.DefaultSelector()
        self.connections = [connect(ports[each % len(ports)]) for each in range(number)]
        for each in self.connections:
            each.sendall(masked("pubsub", "subscribe", channel="news"))
            # The answer says that it is subscribed. Messages come after it.
            if b"response" not in each.recv(1000):
                raise harness.BenchmarkError("a client could not subscribe")
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ)
        self.received = 0

    def read(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                self.received += len(key.fileobj.recv(1 << 20))  # type: ignore[union-attr]

    def close(self) -> None:
        self._selector.close()
        for each in self.connections:
            each.close()


def deliver(publisher: socket.socket, crowd: Crowd, case: str, options: argparse.Namespace) -> int:
    """Publish, and wait until everybody has everything; returns how many deliveries that were."""
    frame = masked("pubsub", "publish", channel="news", message="x" * 60)
    told = {"service": "pubsub", "message": {"type": "message"}}
    told["message"] |= {"channel": "news", "message": "x" * 60}  # type: ignore[operator]
    size = len(json.dumps(told, separators=(",", ":")))
    size += 2 if size < 126 else 4
    count = options.messages if case == "burst" else round(options.rate * options.seconds)
    wanted = crowd.received + count * size * len(crowd.connections)
    if case == "burst":
        publisher.sendall(frame * count)
    else:
        for _ in range(count):
            publisher.sendall(frame)
            crowd.read(1 / options.rate)
    ends = time.monotonic() + SECONDS_TO_ARRIVE
    while crowd.received < wanted and time.monotonic() < ends:
        crowd.read(0.02)
    crowd.read(0.2)
    if crowd.received != wanted:
        raise harness.BenchmarkError(f"expected {wanted} bytes, got {crowd.received}")
    return int(count * len(crowd.connections))


# Measuring


def measure(engine: str | None, processes: int, options: argparse.Namespace) -> Figures:
    with ExitStack() as stack:
        url, engine_pid = (None, None)
        if engine is not None:
            url, engine_pid = stack.enter_context(STARTED[engine]())
        servers = [stack.enter_context(serving(url)) for _ in range(processes)]
        crowd = Crowd([port for port, _ in servers], options.subscribers)
        stack.callback(crowd.close)
        publisher = stack.enter_context(connect(servers[0][0]))
        figures: Figures = {}
        deliver(publisher, crowd, "burst", options)  # warm
        for case in CASES:
            before = sum(cpu_seconds_of(pid) for _, pid in servers)
            before_engine = cpu_seconds_of(engine_pid) if engine_pid else 0.0
            deliveries = deliver(publisher, crowd, case, options)
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
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    options = parse(sys.argv[1:])
    ways: list[tuple[str | None, int]] = [(None, 1)]
    ways += [(engine, number) for engine in options.engines for number in options.processes]
    found: dict[str, list[Figures]] = {}
    try:
        for _ in range(options.rounds):  # they take turns: a drift of the machine meets all
            for engine, number in ways:
                name = f"{engine or 'memory'}, {number}"
                found.setdefault(name, []).append(measure(engine, number, options))
    except harness.BenchmarkError as error:
        sys.exit(f"cluster: {error}")
    text = rendered(found, options)
    print(text)
    if options.out:
        circumstances = harness.circumstances()
        options.out.mkdir(parents=True, exist_ok=True)
        facts = "\n".join(f"- {name}: {value}" for name, value in circumstances.items())
        (options.out / "cluster.md").write_text(f"# cluster\n\n{facts}\n\n{text}\n")
        kept = {"circumstances": circumstances, "cluster": found}
        (options.out / "cluster.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
