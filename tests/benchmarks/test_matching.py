"""The benchmark of the index runs, small, with every mix and a real PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.patience import patient

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TIMES = {"match_p50_us", "match_p99_us", "update_p99_us", "add_p50_us", "remove_p99_us"}


def test_every_mix_is_measured_beside_a_scan_and_beside_postgresql(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "matching.py", "--sizes", "300", "600", "--rows", "20", "--out", tmp_path],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=patient(110),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "matching.json").read_text())["matching"]
    for name, sizes in measured.items():
        for ways in sizes.values():
            assert {key for key in TIMES if ways["index"][key] > 0} == TIMES
            assert ways["index"]["bytes_per_filter"] > 0
            assert ways["scan"]["match_p50_us"] > 0
            # A row of a mix matches some, and the same in the database.
            assert ways["index"]["hits"] > 0
            if "percolation" in ways:
                assert abs(ways["percolation"]["hits"] - ways["index"]["hits"]) < 6, name
    assert {"equal", "interval", "prefix"} == {
        name for name, sizes in measured.items() if "percolation" in sizes["300"]
    }
    assert "| `startswith` | 300 | percolation |" in (tmp_path / "matching.md").read_text()
    assert (tmp_path / "matching.svg").stat().st_size > 1000
