"""What was measured, as Markdown: a table for every benchmark, ratios, and where it was run."""

from collections.abc import Sequence
from statistics import median

from harness import Figures
from peers import PEERS
from runs import Benchmark, Column, Results

BUSY = 0.9
"""The share of its core above which the generator may have held the server up."""

Rounds = Sequence[dict[str, Figures]]


def render(benchmarks: Sequence[Benchmark], results: Results) -> str:
    """All tables, and what the reader has to know beside them."""
    lines: list[str] = []
    for one in benchmarks:
        lines += [*table(one, results), ""]
    if "≥" in "".join(lines):
        lines += [f"≥: the generator was busy over {BUSY:.0%} of the time: a floor.", ""]
    for name, reason in results["missing"].items():
        lines.append(f"- not measured: {PEERS[name].title}: {one_line(reason)}")
    lines += [f"- {note}" for note in results["notes"]]
    for name, versions in results["versions"].items():
        pairs = ", ".join(f"{part} {version}" for part, version in versions.items())
        lines.append(f"- {PEERS[name].title}: {pairs}")
    lines += [f"- {name}: {value}" for name, value in results["circumstances"].items()]
    return "\n".join(lines)


def table(one: Benchmark, results: Results) -> list[str]:
    measured = results["benchmarks"][one.name]
    rounds = f"; medians of {one.rounds} rounds (lowest-highest)" if one.rounds > 1 else ""
    lines = [f"## {one.title}", "", f"{one.text}{rounds}.", ""]
    lines.append(f"| | | {' | '.join(column.title for column in one.columns)} |")
    lines.append(f"|---|---|{'--:|' * len(one.columns)}")
    for case in one.cases:
        faults = measured["faults"][case.name]
        for name in case.servers:
            rows = [
                one_round[name] for one_round in measured["cases"][case.name] if name in one_round
            ]
            if name in faults:
                reason = one_line(faults[name]).replace("|", "\\|")
                lines.append(
                    f"| {case.name} | {PEERS[name].title} | failed: {reason} "
                    + "| " * (len(one.columns) - 1)
                    + "|"
                )
            elif rows:
                cells = [cell(column, rows) for column in one.columns]
                lines.append(f"| {case.name} | {PEERS[name].title} | {' | '.join(cells)} |")
    ratios = ratio_lines(one, measured["cases"])
    if ratios:
        title = next(column.title for column in one.columns if column.key == one.ratio)
        lines += ["", f"{title}, Snorky's divided by the peer's of the same round:", "", *ratios]
    return lines


def cell(column: Column, rows: Sequence[Figures]) -> str:
    values = [row[column.key] * column.scale for row in rows if column.key in row]
    if not values:
        return ""
    if column.key.endswith("_share"):
        return f"{median(values):.0%}"
    floor = column.throughput and any(row.get("generator_cpu_share", 0) > BUSY for row in rows)
    text = spread(values) if column.spread else number(median(values))
    return f"≥ {text}" if floor else text


def ratio_lines(one: Benchmark, cases: dict[str, Rounds]) -> list[str]:
    lines = []
    for case in one.cases:
        parts = [
            f"{spread(values)} of {PEERS[name].title}"
            for name in case.servers
            if name != "snorky"
            and (values := ratios(cases[case.name], one.ratio, "snorky", cases[case.name], name))
        ]
        if parts:
            lines.append(f"- {case.name}: {', '.join(parts)}")
    return lines


def ratios(
    rounds: Rounds, key: str, server: str, of: Rounds, of_server: str, of_key: str = ""
) -> list[float]:
    """A figure divided by another, round by round; rounds that miss one of them are left out."""
    return [
        one[server][key] / other[of_server][of_key or key]
        for one, other in zip(rounds, of, strict=True)
        if server in one and of_server in other and other[of_server][of_key or key] > 0
    ]


def spread(values: Sequence[float]) -> str:
    middle = number(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}-{number(max(values))})"


def number(value: float) -> str:
    """Three significant digits at most, and no powers of ten."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}" if abs(value) >= 0.001 else f"{value:.2g}"


def one_line(text: str) -> str:
    """Its first line: what follows is the command."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= 200 else line[:197] + "..."
