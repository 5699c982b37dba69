"""What does it cost Snorky to deliver a publication to many subscribers?

Through the real WebSocket edge, beside `ws` (npm) in the same run; add `limit` to --servers to
see what the system calls alone cost in C. A server gets one core, the load generator (load.c)
the other. All servers answer the same messages, and the generator checks that every subscriber
gets every message once, in order and unchanged.

Three scenarios, all with one channel:

burst       a publisher sends all its messages at once, as separate calls
subscribed  the same, but the publisher is a subscriber and has at most --window calls unanswered
paced       --rate messages a second for --seconds: nothing can be joined

The figure to compare is the server's CPU time per delivery: it survives a noisy machine, which
throughput and latency do not. Every measurement has a server process of its own, and the servers
take turns; a ratio is taken within a round. See benchmarks/README.md for what each figure means.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import harness
from harness import HERE, BenchmarkError, Server

SERVERS = {
    "snorky": Server("Snorky", [sys.executable, str(HERE / "servers" / "snorky_pubsub.py")]),
    "ws": Server("ws", ["node", str(HERE / "servers" / "ws_pubsub.mjs")]),
    "limit": Server("limit", [str(harness.BUILD / "limit_pubsub")]),
}
SCENARIOS = ("burst", "subscribed", "paced")
SHORT = {"rounds": 1, "subscribers": 50, "messages": 50, "seconds": 0.5, "warm_up": 10}

Rounds = list[dict[str, dict[str, Any]]]
"""For every round: server -> what the generator measured."""


def main() -> None:
    arguments = parse_arguments()
    try:
        report = run(arguments)
    except BenchmarkError as error:
        sys.exit(f"fanout: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    text = render(report)
    print(text)
    if arguments.json:
        write_json(arguments.json, report)
    if arguments.out:
        stem = arguments.out / f"fanout-{report['circumstances']['date'][:16].replace(':', '')}"
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_json(stem.with_suffix(".json"), report)
        stem.with_suffix(".md").write_text(text + "\n")
        print(f"\nKept in {stem}.md and .json")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--servers", nargs="+", choices=SERVERS, default=["snorky", "ws"], help="(snorky ws)")
    add("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="(all)")
    add("--rounds", type=int, default=5, help="measurements of each kind (5)")
    add("--subscribers", type=int, default=1000, help="connections (1000)")
    add("--messages", type=int, default=1000, help="of burst and subscribed (1000)")
    add("--window", type=int, default=16, help="calls without an answer, of subscribed (16)")
    add("--rate", type=float, default=20, help="messages a second, of paced (20)")
    add("--seconds", type=float, default=5, help="of paced (5)")
    add("--frame-bytes", type=int, default=130, help="of a delivery on the wire (130)")
    add("--warm-up", type=int, default=100, help="messages before the measured ones (100)")
    add("--timeout", type=float, default=60, help="seconds for each stage of the generator (60)")
    add("--short", action="store_true", help="a small run of some seconds: does it all work?")
    add("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    add(
        "--out",
        type=Path,
        nargs="?",
        const=HERE / "results",
        metavar="DIRECTORY",
        help="keep the report as Markdown and JSON (in benchmarks/results)",
    )
    if parser.parse_args().short:
        parser.set_defaults(**SHORT)
    return parser.parse_args()


@dataclass(frozen=True)
class Rig:
    """Where and with what everything is measured."""

    generator: Path
    server_core: int
    generator_core: int
    arguments: argparse.Namespace

    def measure(self, server: Server, scenario: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what the generator measured, and the server's versions."""
        arguments = self.arguments
        options: dict[str, Any] = {
            "subscribers": arguments.subscribers,
            "messages": arguments.messages,
            "frame-bytes": arguments.frame_bytes,
            "warm-up": arguments.warm_up,
            "timeout": arguments.timeout,
        }
        limit = 4 * arguments.timeout  # connecting, warming up, measuring, the last message
        if scenario == "subscribed":
            options |= {"window": arguments.window, "publisher-subscribed": True}
        if scenario == "paced":
            messages = max(1, round(arguments.rate * arguments.seconds))
            options |= {"rate": arguments.rate, "messages": messages}
            limit += arguments.seconds
        with harness.running(server, self.server_core) as started:
            result = harness.run_generator(
                self.generator, started, self.generator_core, options, limit
            )
            return result, started.versions


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    harness.raise_descriptor_limit(arguments.subscribers + 100)
    if "ws" in arguments.servers:
        harness.install_peers()
    if "limit" in arguments.servers:
        harness.build("servers/limit_pubsub.c")
    rig = Rig(harness.build("load.c"), *harness.two_cores(), arguments)
    report: dict[str, Any] = {
        "circumstances": harness.circumstances(),
        "arguments": {
            name: value for name, value in vars(arguments).items() if name not in ("json", "out")
        },
        "versions": {},
        "scenarios": {scenario: [] for scenario in arguments.scenarios},
    }
    for number in range(arguments.rounds):
        # Whoever came second comes first: a drift of the machine meets both alike.
        order = arguments.servers if number % 2 == 0 else arguments.servers[::-1]
        for scenario, rounds in report["scenarios"].items():
            rounds.append({})
            for name in order:
                server = SERVERS[name]
                note(f"round {number + 1} of {arguments.rounds}: {scenario}, {server.name}")
                try:
                    result, versions = rig.measure(server, scenario)
                except BenchmarkError as error:
                    raise BenchmarkError(f"{scenario}, {server.name}: {error}") from error
                result["cpu_us_per_delivery"] = (
                    result["server_cpu_seconds"] / result["deliveries"] * 1e6
                )
                rounds[-1][name] = result
                report["versions"][name] = versions
    note("")
    return report


def note(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def write_json(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=1) + "\n")


def render(report: dict[str, Any]) -> str:
    """The report as Markdown: medians of the rounds, ranges in brackets."""
    arguments = report["arguments"]
    lines = [
        "# Fan-out through WebSocket",
        "",
        f"{arguments['subscribers']} subscribers, frames of {arguments['frame_bytes']} bytes, "
        f"one core for the server; medians of {arguments['rounds']} rounds (lowest-highest). "
        f"burst: {arguments['messages']} messages at once; subscribed: the publisher is a "
        f"subscriber, {arguments['window']} calls outstanding; "
        f"paced: {arguments['rate']:g} messages a second.",
        "",
        "| | | CPU us per delivery | deliveries/s | latency p50 ms | p99 ms | server CPU "
        "| generator CPU |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for scenario, rounds in report["scenarios"].items():
        lines += [row(scenario, name, [one[name] for one in rounds]) for name in rounds[0]]
    lines.append("")
    peers = [name for name in report["versions"] if name != "snorky"]
    if "snorky" in report["versions"] and peers:
        lines.append("CPU time per delivery, Snorky's divided by the peer's of the same round:")
        lines.append("")
        for scenario, rounds in report["scenarios"].items():
            ratios = [
                f"{spread(ratios_of(rounds, peer))} of {SERVERS[peer].name}" for peer in peers
            ]
            lines.append(f"- {scenario}: {', '.join(ratios)}")
        lines.append("")
    if "≥" in "".join(lines):
        lines += ["≥: the generator was busy over 90 % of the time: a floor.", ""]
    for name, versions in report["versions"].items():
        pairs = ", ".join(f"{part} {version}" for part, version in versions.items())
        lines.append(f"- {SERVERS[name].name}: {pairs}")
    lines += [f"- {name}: {value}" for name, value in report["circumstances"].items()]
    return "\n".join(lines)


def ratios_of(rounds: Rounds, peer: str) -> list[float]:
    figure = "cpu_us_per_delivery"
    return [one["snorky"][figure] / one[peer][figure] for one in rounds]


def row(scenario: str, name: str, results: list[dict[str, Any]]) -> str:
    def middle(*keys: str, scale: float = 1) -> float:
        values: list[float] = []
        for result in results:
            value: Any = result
            for key in keys:
                value = value[key]
            values.append(float(value) * scale)
        return median(values)

    floor = "≥ " if any(result["throughput_is_floor"] for result in results) else ""
    cells = [
        scenario,
        SERVERS[name].name,
        spread([result["cpu_us_per_delivery"] for result in results]),
        f"{floor}{middle('deliveries_per_second'):,.0f}",
        f"{middle('latency_us', 'p50', scale=1e-3):.3g}",
        f"{middle('latency_us', 'p99', scale=1e-3):.3g}",
        f"{middle('server_cpu_share'):.0%}",
        f"{middle('generator_cpu_share'):.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def spread(values: list[float]) -> str:
    middle = f"{median(values):.2g}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.2g}-{max(values):.2g})"


if __name__ == "__main__":
    main()
