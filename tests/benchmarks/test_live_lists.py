"""Pages of live lists that come back, and that come and go: small runs of both programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("mode", ["shared", "own"])
def test_all_pages_are_live_again(mode: str) -> None:
    cut = ["--clients", "20", "--writes", "50", "--away", "0.5", "--spread", "0.2"]
    last = run("comeback.py", *cut, "--modes", mode).splitlines()[-1]
    assert last.startswith(f"{mode}: CPU us per client ")


def test_a_soak_keeps_what_it_measured(tmp_path: Path) -> None:
    often = ["--clients", "5", "--writes", "20", "--minutes", "0.02", "--every", "0.2"]
    code = "import soak, sys; soak.MOST_GROWTH = 99; sys.argv[0] = 'soak.py'; soak.main()"
    run("-c", code, *often, "--out", str(tmp_path))
    kept = json.loads((tmp_path / "soak.json").read_text())
    assert kept["done"]["came"] >= 5
    assert all(sample > 5 for sample in kept["MiB"])
