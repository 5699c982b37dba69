"""The benchmark of a cluster runs, small, beside one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.patience import patient

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_deliveries_are_counted_in_one_process_and_in_two(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "cluster.py", "--short", "--peers", "socketio", "--out", str(tmp_path)],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=patient(110),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "cluster.json").read_text())["cluster"]
    assert {*found} == {"memory, 1", "valkey, 2", "Socket.IO, valkey, 2"}
    assert all({"burst_us", "paced_us"} <= {*rounds[0]} for rounds in found.values())
    report = (tmp_path / "cluster.md").read_text()
    assert "| valkey, 2 | paced |" in report
    assert "Socket.IO takes" in report
