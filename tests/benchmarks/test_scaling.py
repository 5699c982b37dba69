"""The simulation of many pages: the same figures each time, and the same as were measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from calibration import COSTS, calibrated
from scaling import LIMITS, PAGE, SITES, plan, reached_at, return_of, tables, with_tables

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COST = {name: each.otherwise for name, each in COSTS.items()}


def test_the_program_says_the_same_twice() -> None:
    said = [
        subprocess.run(
            [sys.executable, "scaling.py", "--sizes", "1000", "1000000"],
            cwd=BENCHMARKS,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert "| news | 1,000,000 |" in said[0]


def test_more_pages_need_more_processes_and_dearer_deliveries_too() -> None:
    dear = COST | {"deliver": 3 * COST["deliver"]}
    for site in SITES:
        counts = [plan(site, pages, COST).processes for pages in (1_000, 100_000, 1_000_000)]
        assert counts == sorted(counts)
        assert counts[0] == 1 < counts[2]
    news = SITES[0]
    assert plan(news, 1_000_000, dear).processes > 2 * plan(news, 1_000_000, COST).processes


def test_a_limit_is_met_where_it_is_used_up() -> None:
    rooms = SITES[1]
    met = reached_at("the engine's core", rooms, COST)
    assert 10_000 < met < 10_000_000
    assert plan(rooms, round(met * 1.1), COST).engines == 2
    assert plan(rooms, round(met * 0.9), COST).engines == 1
    assert reached_at("following the log", rooms, COST) == float("inf")


def test_pages_come_back_as_in_the_benchmark_that_had_them() -> None:
    """Ten thousand of one server, which try again after 0.1 to 0.5 s."""
    kept = json.loads((BENCHMARKS / "results" / "bench.json").read_text())
    measured = kept["benchmarks"]["storm"]["cases"]["restart"][0]["snorky"]
    cost = measured["cpu_us_per_client"] / 1e6
    half, last = return_of(measured["clients"], cost, 0.0, Random(1), delay=(0.1, 0.5))
    assert 0.5 < half / measured["p50_seconds"] < 2
    assert 0.5 < last / measured["seconds_to_last"] < 2


def test_kept_results_count_before_what_is_said_in_the_program(tmp_path: Path) -> None:
    rounds = [{"snorky": {"cpu_us_per_call": value}} for value in (1.0, 2.0, 30.0)]
    kept = {
        "circumstances": {"date": "2026-11-28T10:00"},
        "benchmarks": {"calls": {"cases": {"x1": rounds}}},
    }
    (tmp_path / "bench.json").write_text(json.dumps(kept))
    found = calibrated(tmp_path)
    assert (found["call"].value, found["call"].source) == (2.0, "bench.json, 2026-11-28")
    assert found["kb"].value == COSTS["kb"].otherwise
    assert "not kept" in found["kb"].source


def test_the_manual_shows_what_was_kept() -> None:
    kept = (BENCHMARKS / "results" / "scaling.md").read_text()
    text = kept.partition("\n\n")[2].partition("\n\n![")[0]
    page = PAGE.read_text()
    assert with_tables(page, text) == page, "python benchmarks/scaling.py --keep writes it anew"
    for limit in LIMITS:
        assert f"| **{limit}**" in page
    with pytest.raises(ValueError, match="expected one table"):
        with_tables("", text)
    assert tables(COST, dict.fromkeys(COST, ""), [1_000]).count("\n\n") == text.count("\n\n")
