"""The benchmark of the index runs, small, with every mix and a real PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.patience import patient

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TIMES = {"match_p50_us", "match_p99_us", "update_p99_us", "add_p50_us", "remove_p99_us"}


def measured(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "matching.py", "--rows", "20", *arguments, "--out", str(folder)],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=patient(110),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "matching.json").read_text())["matching"]
    return found


def test_every_mix_is_measured(tmp_path: Path) -> None:
    found = measured(tmp_path, "--sizes", "300", "--ways", "index")
    for sizes in found.values():
        figures = sizes["300"]["index"]
        assert {key for key in TIMES if figures[key] > 0} == TIMES
        assert figures["bytes_per_filter"] > 0
        assert figures["hits"] > 0  # a row of a mix matches some
    assert "| `startswith` | 300 | index |" in (tmp_path / "matching.md").read_text()
    assert (tmp_path / "matching.svg").stat().st_size > 1000


def test_the_index_is_measured_beside_a_scan_and_beside_postgresql(tmp_path: Path) -> None:
    found = measured(tmp_path, "--sizes", "300", "--mixes", "equal")
    ways = found["equal"]["300"]
    assert ways["scan"]["match_p50_us"] > 0
    assert ways["percolation"]["match_p99_us"] > 0
    assert ways["percolation"]["hits"] == ways["index"]["hits"] == 10
