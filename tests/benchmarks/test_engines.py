"""The benchmark of engines runs, small, over the real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.patience import patient

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_publications_through_each_engine_are_measured(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "engines.py", "--short", "--out", str(tmp_path)],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "engines.json").read_text())["engines"]
    assert set(found) == {"postgresql", "valkey"}
    for engine, figures in found.items():
        for case in ("pipelined", "paced", "log"):
            assert figures[f"{case}_per_second"] > 0
            assert 0 < figures[f"{case}_p50_ms"] <= figures[f"{case}_p99_ms"]
            assert figures[f"{case}_publisher_us"] > 0
        assert f"| {engine} | pipelined |" in (tmp_path / "engines.md").read_text()
