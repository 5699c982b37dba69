"""Pictures of what was measured: SVG that reads on a light and on a dark page.

Needs matplotlib; without it there are no pictures, and a line that says so.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from harness import Figures
from peers import PEERS
from runs import Benchmark, Results

OURS = "#2f9e77"
THEIRS = "#8a94a6"
INK = "#808080"
"""Of text and axes: in the middle between the two backgrounds, which are transparent."""


def draw(benchmarks: Sequence[Benchmark], results: Results, stem: Path) -> list[tuple[Path, str]]:
    """Draw what each benchmark names, beside ``stem``; returns the files and their captions."""
    try:
        import matplotlib
    except ImportError:
        print("No pictures: matplotlib is not installed (dependency group bench)", file=sys.stderr)
        return []
    matplotlib.use("svg")
    drawn = []
    for one in benchmarks:
        for case, title in one.plots:
            rounds = results["benchmarks"][one.name]["cases"].get(case, [])
            if bars := heights(rounds, one.ratio):
                path = stem.parent / f"{stem.name}-{one.name}-{case}.svg"
                unit = next(column.title for column in one.columns if column.key == one.ratio)
                caption = f"{title}: {unit}"
                draw_bars(bars, caption, path)
                drawn.append((path, caption))
        if one.growth:
            path = stem.parent / f"{stem.name}-{one.name}.svg"
            unit = next(column.title for column in one.columns if column.key == one.ratio)
            draw_growth(one, results, unit, path)
            drawn.append((path, f"{one.title}: {unit}"))
    return drawn


def heights(rounds: Sequence[dict[str, Figures]], key: str) -> dict[str, float]:
    """Every server's median, the smallest first."""
    names = {name for one in rounds for name in one}
    found = {name: median(one[name][key] for one in rounds if name in one) for name in names}
    # What came out as nothing has no place on a logarithmic scale.
    return dict(sorted(((n, v) for n, v in found.items() if v > 0), key=lambda pair: pair[1]))


def draw_bars(bars: dict[str, float], caption: str, path: Path) -> None:
    with picture(path, height=0.9 + 0.34 * len(bars)) as axes:
        titles = [PEERS[name].title for name in bars]
        drawn = axes.barh(titles, list(bars.values()), color=[colour_of(title) for title in titles])
        axes.bar_label(drawn, labels=[f" {value:.3g}" for value in bars.values()])
        axes.set_xscale("log")
        axes.margins(x=0.15)
        axes.invert_yaxis()
        axes.set_xlabel(f"{caption} (logarithmic; less is better)")


def draw_growth(one: Benchmark, results: Results, unit: str, path: Path) -> None:
    """A line for every server, from the smallest size to the largest."""
    cases = results["benchmarks"][one.name]["cases"]
    medians = {case: heights(rounds, one.ratio) for case, rounds in cases.items()}
    with picture(path, height=3) as axes:
        for name in dict.fromkeys(name for case in one.cases for name in case.servers):
            points = [(case, found[name]) for case, found in medians.items() if name in found]
            title = PEERS[name].title
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", color=colour_of(title))
                axes.annotate(f"  {title}", points[-1], va="center")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.15)
        axes.set_xlabel(one.growth)
        axes.set_ylabel(unit)


def colour_of(title: str) -> str:
    return OURS if title.startswith("Snorky") else THEIRS


@contextmanager
def picture(path: Path, height: float) -> Iterator[Any]:
    """Axes to draw on; the picture is written when the block is left."""
    import matplotlib
    from matplotlib.figure import Figure

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = {
        **dict.fromkeys(inked, INK),
        "svg.hashsalt": "snorky",
        "svg.fonttype": "none",  # text as text: a tenth of the lines that outlines take
        "font.family": "sans-serif",
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(7, height), layout="constrained")
        axes = figure.add_subplot()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        yield axes
        figure.savefig(path, transparent=True, metadata={"Date": None})
