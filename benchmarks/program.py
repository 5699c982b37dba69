"""A benchmark program: its command line, and what it prints and keeps.

The same object is a program of its own (``main``) and a part of the suite (bench.py).
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plots
import report
import runs
from harness import HERE, BenchmarkError
from peers import PEERS
from runs import Benchmark, Results


@dataclass(frozen=True)
class Program:
    name: str
    question: str
    """Its module's docstring."""
    servers: Sequence[str]
    """Those it compares when not told otherwise."""
    add_options: Callable[[argparse.ArgumentParser], None]
    """Its own options with their defaults."""
    short: Mapping[str, Any]
    """Other defaults of its options, which prove in seconds that it works."""
    benchmarks: Callable[[argparse.Namespace], Sequence[Benchmark]]
    """What it measures, given its options, ``rounds`` and ``servers`` among them."""
    rounds: int = 1

    def options(self, arguments: Sequence[str], short: bool = False) -> argparse.Namespace:
        parser = argparse.ArgumentParser(
            description=self.question, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add_common_options(parser, self.servers)
        parser.add_argument(
            "--rounds", type=int, default=self.rounds, help=f"of each measurement ({self.rounds})"
        )
        self.add_options(parser)
        if short or parser.parse_args(arguments).short:
            parser.set_defaults(rounds=1, **self.short)
        return parser.parse_args(arguments)


def main(program: Program) -> None:
    options = program.options(sys.argv[1:])
    try:
        benchmarks = program.benchmarks(options)
        rig = runs.make_rig(options.timeout, options.frame_bytes)
        results = runs.measure_all(benchmarks, options.servers, rig)
    except BenchmarkError as error:
        sys.exit(f"{program.name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    text = report.render(benchmarks, results)
    print(text)
    keep(program.name, text, benchmarks, results, options)
    if runs.faults_of(results):
        sys.exit(1)


def keep(
    name: str,
    text: str,
    benchmarks: Sequence[Benchmark],
    results: Results,
    options: argparse.Namespace,
) -> None:
    """Write what --json and --out ask for."""
    kept = json.dumps(results, indent=1) + "\n"
    if options.json:
        options.json.write_text(kept)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        stem = options.out / name  # the last run: those before are in the history of git
        pictures = plots.draw(benchmarks, results, stem)
        shown = [f"![{caption}]({path.name})" for path, caption in pictures]
        stem.with_suffix(".md").write_text("\n\n".join([f"# {name}", text, *shown]) + "\n")
        stem.with_suffix(".json").write_text(kept)
        print(f"\nKept in {stem}.md and .json", file=sys.stderr)


def add_common_options(parser: argparse.ArgumentParser, servers: Sequence[str]) -> None:
    add = parser.add_argument
    names = " ".join(servers)
    add(
        "--servers",
        nargs="+",
        choices=PEERS,
        metavar="SERVER",
        default=list(servers),
        help=f"of {' '.join(PEERS)} ({names})",
    )
    add("--frame-bytes", type=int, default=130, help="of a delivery on the wire (130)")
    add("--timeout", type=float, default=60, help="seconds for each stage of the generator (60)")
    add("--short", action="store_true", help="a small run of some seconds: does it all work?")
    add("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    add(
        "--out",
        type=Path,
        nargs="?",
        const=HERE / "results",
        metavar="DIRECTORY",
        help="keep the report as Markdown, JSON and pictures (in benchmarks/results)",
    )
