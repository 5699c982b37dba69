"""The whole suite: every figure of Snorky beside its peers, and whether it meets its goals.

Runs every program with its peers, prints one table for each and one of the goals. Everything is
kept in benchmarks/results, with the machine, versions, commit and command, and with pictures.
About 20 minutes; --short takes about one and proves that every benchmark still works.

What is missing on this machine is named with the reason, and the rest is measured.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import calls
import datasync
import fanout
import idle
import report
import runs
import storm
from goals import goal_table
from harness import HERE, BenchmarkError
from peers import PEERS
from program import Program, keep
from runs import Benchmark

PROGRAMS: Sequence[Program] = (
    fanout.PROGRAM,
    calls.PROGRAM,
    idle.PROGRAM,
    storm.PROGRAM,
    datasync.PROGRAM,
)


def main() -> None:
    options = parse_arguments()
    chosen = [program for program in PROGRAMS if program.name in options.programs]
    more = ["--servers", *options.servers]
    if options.rounds:
        more += ["--rounds", str(options.rounds)]
    benchmarks: list[Benchmark] = []
    for program in chosen:
        benchmarks += program.benchmarks(program.options(more, short=options.short))
    try:
        rig = runs.make_rig(options.timeout, options.frame_bytes)
        results = runs.measure_all(benchmarks, options.servers, rig)
    except BenchmarkError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    goals, results["goals"] = goal_table(results)
    if options.short:
        goals = [
            "A short run: it shows that everything works, and measures nothing well.",
            "",
            *goals,
        ]
    text = "\n".join([*goals, "", report.render(benchmarks, results)])
    print(text)
    keep("bench", text, benchmarks, results, options)
    if runs.faults_of(results):
        sys.exit(1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    names = [program.name for program in PROGRAMS]
    add("--short", action="store_true", help="about a minute: does every benchmark still work?")
    add("--programs", nargs="+", choices=names, default=names, help="(all)")
    add("--servers", nargs="+", choices=PEERS, metavar="SERVER", default=list(PEERS), help="(all)")
    add("--rounds", type=int, help="of each measurement (each program's own default)")
    add("--frame-bytes", type=int, default=130, help="of a delivery on the wire (130)")
    add("--timeout", type=float, default=60, help="seconds for each stage of the generator (60)")
    add("--json", type=Path, metavar="FILE", help="write everything measured to FILE too")
    add(
        "--out",
        type=Path,
        metavar="DIRECTORY",
        help="where all is kept (benchmarks/results; a short run is not kept)",
    )
    if not parser.parse_args().short:
        parser.set_defaults(out=HERE / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
