"""What Snorky has set itself, and whether a run has met it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from peers import PEERS
from report import Rounds, number, one_line, ratios, spread
from runs import Results


@dataclass(frozen=True)
class Figure:
    """Where a figure is found in the results."""

    benchmark: str
    case: str
    server: str
    key: str
    scale: float = 1


@dataclass(frozen=True)
class Goal:
    """A figure, or its ratio to another of the same round, and its bound."""

    text: str
    figure: Figure
    over: Figure | None = None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""

    def bound(self) -> str:
        unit = "x" if self.over else f" {self.unit}".rstrip()
        if self.at_most is not None:
            return f"≤ {number(self.at_most)}{unit}"
        assert self.at_least is not None
        return f"≥ {number(self.at_least)}{unit}"

    def met_by(self, value: float) -> bool:
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)


def against(peer: str, text: str, benchmark: str, case: str, key: str, most: float, *,
            server: str = "snorky") -> Goal:  # fmt: skip
    """Our figure is at most so many times the peer's."""
    return Goal(
        f"{text}, of {PEERS[peer].title}",
        Figure(benchmark, case, server, key),
        Figure(benchmark, case, peer, key),
        at_most=most,
    )


DELIVERY = "cpu_us_per_delivery"
CALL = "cpu_us_per_call"
PACED_PURE = "paced fan-out in pure Python, CPU per delivery"

GOALS: Sequence[Goal] = (
    against("centrifuge", "burst, CPU per delivery", "fanout", "burst", DELIVERY, 0.1),
    against("socketio", "burst, CPU per delivery", "fanout", "burst", DELIVERY, 0.01),
    against("centrifuge", "paced fan-out, CPU per delivery", "fanout", "paced", DELIVERY, 0.5),
    against("nchan", "paced fan-out, CPU per delivery", "fanout", "paced", DELIVERY, 0.75),
    against("limit", "paced fan-out, CPU per delivery", "fanout", "paced", DELIVERY, 1.15),
    *(
        against(peer, PACED_PURE, "fanout", "paced", DELIVERY, most, server="snorky-pure")
        for peer, most in (("centrifuge", 1), ("ws", 1), ("socketio", 1), ("nchan", 1.2))
    ),
    Goal(
        "calls, 16 under way, on one core",
        Figure("calls", "x16", "snorky", "calls_per_second"),
        at_least=100_000,
        unit="calls/s",
    ),
    against("ws", "calls, 16 under way, CPU per call", "calls", "x16", CALL, 1),
    against("socketio", "calls, 16 under way, CPU per call", "calls", "x16", CALL, 1),
    against("centrifuge", "calls, 16 under way, CPU per call", "calls", "x16", CALL, 1.7),
    against("ws", "calls, 1 under way, CPU per call", "calls", "x1", CALL, 1),
    against("centrifuge", "calls, 1 under way, CPU per call", "calls", "x1", CALL, 1.3),
    Goal(
        "memory of an idle connection",
        Figure("idle", "idle", "snorky", "kb_per_connection"),
        at_most=4,
        unit="KB",
    ),
    Goal(
        "CPU time to connect, through the front door",
        Figure("idle", "idle", "snorky", "cpu_us_per_connect"),
        at_most=120,
        unit="us",
    ),
    Goal(
        "all clients of a restarted server are served again",
        Figure("storm", "restart", "snorky", "seconds_to_last"),
        at_most=5,
        unit="s",
    ),
    *(
        Goal(
            f"DataSync, {case}: from the back end to the clients, CPU per row, of PubSubBackend",
            Figure("datasync", case, "snorky", "cpu_us_per_delta"),
            Figure("datasync", case, "snorky", "cpu_us_per_publication"),
            at_most=1.3,
        )
        for case in ("burst", "paced")
    ),
    Goal(
        "the longest wait of a bystander's call during a fan-out",
        Figure("bystander", "", "snorky", "bystander_max_us", scale=1e-3),
        at_most=20,
        unit="ms",
    ),
)


def growth_goals(results: Results) -> list[Goal]:
    """Flat: the largest costs at most half as much again as the smallest, per unit.

    Which sizes there are is an option of the run.
    """
    goals = []
    for benchmark, key, text in (
        ("subscribers", DELIVERY, "CPU per delivery to {1} subscribers, of that to {0}"),
        ("channels", "cpu_us_per_message", "CPU per message with {1} channels, of that with {0}"),
    ):
        sizes = list(results["benchmarks"].get(benchmark, {}).get("cases", {}))
        if len(sizes) > 1:
            goals.append(
                Goal(
                    text.format(sizes[0], sizes[-1]),
                    Figure(benchmark, sizes[-1], "snorky", key),
                    Figure(benchmark, sizes[0], "snorky", key),
                    at_most=1.5,
                )
            )
    if subscribers := list(results["benchmarks"].get("subscribers", {}).get("cases", {})):
        # Sockets that are in no cache cost more in the kernel too: what of the growth is ours?
        text = f"CPU per delivery to {subscribers[-1]} subscribers"
        goals.append(against("limit", text, "subscribers", subscribers[-1], DELIVERY, 1.25))
    return goals


def goal_table(results: Results) -> tuple[list[str], list[dict[str, object]]]:
    """The goals as Markdown and as JSON."""
    lines = ["## Goals", "", "| | goal | measured | |", "|---|---|---|---|"]
    kept: list[dict[str, object]] = []
    for goal in (*GOALS, *growth_goals(results)):
        values, reason = values_of(goal, results)
        if not values:
            measured, verdict = f"not measured: {reason}", ""
        else:
            unit = "x" if goal.over else f" {goal.unit}".rstrip()
            measured = f"{spread(values)}{unit}"
            verdict = "met" if goal.met_by(median(values)) else "**missed**"
        lines.append(f"| {goal.text} | {goal.bound()} | {measured} | {verdict} |")
        kept.append(
            {
                "goal": goal.text,
                "at_most": goal.at_most,
                "at_least": goal.at_least,
                "values": values,
                "met": goal.met_by(median(values)) if values else None,
                "not_measured": reason if not values else None,
            }
        )
    return lines, kept


def values_of(goal: Goal, results: Results) -> tuple[list[float], str]:
    """The figure of every round, or why there is none."""
    rounds, reason = rounds_of(goal.figure, results)
    if goal.over is None:
        server, key = goal.figure.server, goal.figure.key
        values = [one[server][key] * goal.figure.scale for one in rounds if server in one]
        return values, reason
    others, other_reason = rounds_of(goal.over, results)
    if reason or other_reason:
        return [], reason or other_reason
    over = goal.over
    return ratios(rounds, goal.figure.key, goal.figure.server, others, over.server, over.key), ""


def rounds_of(figure: Figure, results: Results) -> tuple[Rounds, str]:
    benchmark = results["benchmarks"].get(figure.benchmark)
    if benchmark is None:
        return [], f"{figure.benchmark} was not run"
    case = figure.case or next(iter(benchmark["cases"]), "")
    if case not in benchmark["cases"]:
        return [], f"{figure.benchmark} was not run with {case}"
    title = PEERS[figure.server].title
    if figure.server in results["missing"]:
        return [], f"{title}: {one_line(results['missing'][figure.server])}"
    if figure.server in benchmark["faults"][case]:
        return [], f"{title}: {one_line(benchmark['faults'][case][figure.server])}"
    rounds = benchmark["cases"][case]
    if not any(figure.server in one for one in rounds):
        return [], f"{title} was not asked for"
    return rounds, ""
