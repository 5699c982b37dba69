"""The whole suite runs, small, with real servers, and its results have every figure."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import patient

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SERVERS = ("snorky", "ws", "limit")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a short run of the suite has filled."""
    directory = tmp_path_factory.mktemp("results")
    done = subprocess.run(
        [sys.executable, "bench.py", "--short", "--servers", *SERVERS, "--out", str(directory)],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        timeout=patient(110),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture(scope="module")
def results(kept: Path) -> dict[str, Any]:
    file = kept / "bench.json"
    loaded: dict[str, Any] = json.loads(file.read_text())
    return loaded


FIGURES = [
    *(
        ("fanout", case, server, figure)
        for case in ("burst", "subscribed", "paced")
        for server in SERVERS
        for figure in ("cpu_us_per_delivery", "deliveries_per_second", "p50_us", "p99_us")
    ),
    ("subscribers", "10", "snorky", "cpu_us_per_delivery"),
    ("subscribers", "100", "limit", "cpu_us_per_delivery"),
    ("channels", "1", "snorky", "cpu_us_per_message"),
    ("channels", "200", "snorky", "cpu_us_per_message"),
    ("bystander", "300", "snorky", "bystander_max_us"),
    ("bystander", "300", "ws", "bystander_p99_us"),
    *(
        ("calls", case, server, figure)
        for case in ("x1", "x16")
        for server in SERVERS
        for figure in ("cpu_us_per_call", "calls_per_second", "p50_us", "p99_us")
    ),
    *(
        ("idle", case, server, figure)
        for case in ("idle", "subscribed")
        for server in SERVERS
        for figure in ("cpu_us_per_connect", "connects_per_second", "connections")
    ),
    ("idle", "idle", "ws", "kb_per_connection"),
    *(
        ("storm", "restart", server, figure)
        for server in SERVERS
        for figure in ("cpu_us_per_client", "seconds_to_last", "p99_seconds", "clients")
    ),
    *(
        ("datasync", case, "snorky", figure)
        for case in ("burst", "paced")
        for figure in ("cpu_us_per_delta", "cpu_us_per_publication")
    ),
]


@pytest.mark.parametrize(("benchmark", "case", "server", "figure"), FIGURES)
def test_it_measures(
    results: dict[str, Any], benchmark: str, case: str, server: str, figure: str
) -> None:
    for one in results["benchmarks"][benchmark]["cases"][case]:
        assert one[server][figure] > 0


def test_nothing_fails(results: dict[str, Any]) -> None:
    assert results["missing"] == {}
    faults = [one["faults"] for one in results["benchmarks"].values()]
    assert not [fault for cases in faults for fault in cases.values() if fault]


def test_everybody_is_served_again_after_a_restart(results: dict[str, Any]) -> None:
    [one] = results["benchmarks"]["storm"]["cases"]["restart"]
    assert [one[server]["clients"] for server in SERVERS] == [201] * 3


def test_a_goal_is_judged_and_one_without_its_peer_says_why(results: dict[str, Any]) -> None:
    goals = {goal["goal"]: goal for goal in results["goals"]}
    calls = goals["calls, 16 under way, CPU per call, of ws"]
    [one] = results["benchmarks"]["calls"]["cases"]["x16"]
    ratio = one["snorky"]["cpu_us_per_call"] / one["ws"]["cpu_us_per_call"]
    assert calls["values"] == [pytest.approx(ratio)]
    assert calls["met"] is (ratio <= 1)
    missing = goals["burst, CPU per delivery, of Socket.IO"]
    assert missing["met"] is None
    assert missing["not_measured"] == "Socket.IO was not asked for"


def test_the_report_names_what_was_run_and_where(kept: Path, results: dict[str, Any]) -> None:
    file = kept / "bench.md"
    text = file.read_text()
    for circumstance in ("date", "command", "commit", "machine", "system"):
        assert f"- {circumstance}: {results['circumstances'][circumstance]}" in text
    assert f"ws {results['versions']['ws']['ws']}" in text
    assert "| burst | Snorky |" in text


def test_the_pictures_show_every_server(kept: Path) -> None:
    pytest.importorskip("matplotlib")
    [picture] = kept.glob("bench-fanout-burst.svg")
    assert picture.name in (kept / "bench.md").read_text()
    drawn = picture.read_text()
    assert all(f">{title}</text>" in drawn for title in ("Snorky", "ws", "limit"))


@pytest.mark.parametrize("program", ["bench", "fanout", "calls", "idle", "storm", "datasync"])
def test_each_program_explains_itself(program: str) -> None:
    done = subprocess.run(
        [sys.executable, f"{program}.py", "--help"], cwd=BENCHMARKS, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "--servers" in done.stdout


def test_a_server_that_cannot_be_had_is_named_and_the_rest_is_measured(tmp_path: Path) -> None:
    """Here: no Node on PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("cc", "as", "ld", "git"):
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    done = subprocess.run(
        [
            *(sys.executable, "calls.py", "--short", "--servers", "snorky", "ws"),
            *("--json", str(tmp_path / "calls.json")),
        ],
        cwd=BENCHMARKS,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "calls.json").read_text())
    assert list(results["missing"]) == ["ws"]
    assert results["benchmarks"]["calls"]["cases"]["x1"][0]["snorky"]["calls"] > 0
    assert "not measured: ws: expected the program 'node' on PATH" in done.stdout
