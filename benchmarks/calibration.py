"""What things cost, for the simulation: from kept results where they have it, else said here.

A result that is measured again, with ``--out``, is what the next simulation counts with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Known:
    """One constant. ``path`` leads to it in a kept file; below a list it is the median of all."""

    title: str
    file: str
    path: Sequence[str]
    otherwise: float
    """What it is where no such result is kept,"""
    source: str
    """and how that was found."""


COSTS = {
    "deliver": Known(
        "us, a delivery, alone in its turn",
        "bench.json",
        ("benchmarks", "subscribers", "cases", "10,000", "*", "snorky", "cpu_us_per_delivery"),
        9.0,
        "fanout.py",
    ),
    "call": Known(
        "us, a call that is alone in its read",
        "bench.json",
        ("benchmarks", "calls", "cases", "x1", "*", "snorky", "cpu_us_per_call"),
        20.0,
        "calls.py",
    ),
    "come": Known(
        "us, a page connects and subscribes",
        "bench.json",
        ("benchmarks", "storm", "cases", "restart", "*", "snorky", "cpu_us_per_client"),
        170.0,
        "storm.py",
    ),
    "come_lists": Known(
        "us, a page connects and resumes three lists",
        "comeback.json",
        ("comeback", "own", "CPU us per client"),
        351.0,
        "comeback.py",
    ),
    "idle": Known(
        "ms, an hour of a page that does nothing",
        "transports.json",
        ("benchmarks", "transports", "cases", "WebSocket", "*", "snorky", "cpu_ms_per_idle_hour"),
        0.92,
        "transports.py",
    ),
    "kb": Known(
        "KB, a page with a subscription",
        "bench.json",
        ("benchmarks", "idle", "cases", "subscribed", "*", "snorky", "kb_per_connection"),
        2.8,
        "idle.py",
    ),
    "kernel_kb": Known(
        "KB, its socket in the kernel", "", (), 4.0, "growth of Slab in /proc/meminfo"
    ),
    "list_kb": Known("KB, a live list with a filter of its own", "", (), 1.5, "lists.py"),
    "process_mb": Known("MB, a process that nobody is connected to", "", (), 60.0, "ps"),
    "match": Known(
        "us, to find whom a changed row matches, among 100,000 filters",
        "matching.json",
        ("matching", "tenant", "100000", "index", "match_p50_us"),
        40.0,
        "matching.py",
    ),
    "frame": Known("us, a change for one page, made into its frame", "", (), 40.0, "lists.py"),
    "publish": Known(
        "us, a publication, in the process that makes it",
        "engines.json",
        ("engines", "valkey", "apart_publisher_us"),
        18.0,
        "engines.py, on a busy machine",
    ),
    "receive": Known(
        "us, a publication, in each process that gets it",
        "engines.json",
        ("engines", "valkey", "apart_subscriber_us"),
        5.0,
        "engines.py, on a busy machine",
    ),
    "engine": Known(
        "us, a publication for one process, in Valkey",
        "engines.json",
        ("engines", "valkey", "apart_engine_us"),
        1.5,
        "engines.py, on a busy machine",
    ),
    "engine_more": Known(
        "us, the same for each further process",
        "engines.json",
        ("engines", "valkey", "engine_us_of_a_further_process"),
        0.6,
        "engines.py, on a busy machine",
    ),
    "append": Known(
        "us, an entry of a log, in the process that appends it",
        "engines.json",
        ("engines", "valkey", "log_publisher_us"),
        70.0,
        "engines.py, on a busy machine",
    ),
    "follow": Known(
        "us, an entry of a log, in each process that follows it",
        "engines.json",
        ("engines", "valkey", "log_subscriber_us"),
        14.0,
        "engines.py, on a busy machine",
    ),
    "engine_log": Known(
        "us, an entry of a log, in Valkey",
        "engines.json",
        ("engines", "valkey", "log_engine_us"),
        35.0,
        "engines.py, on a busy machine",
    ),
    "postgresql": Known(
        "publications a second through PostgreSQL",
        "engines.json",
        ("engines", "postgresql", "pipelined_per_second"),
        12_000.0,
        "engines.py, on a busy machine",
    ),
    "postgresql_log": Known(
        "entries of logs a second through PostgreSQL",
        "engines.json",
        ("engines", "postgresql", "log_per_second"),
        1_500.0,
        "engines.py, on a busy machine",
    ),
}


@dataclass(frozen=True)
class Cost:
    value: float
    source: str


def calibrated(results: Path) -> dict[str, Cost]:
    """What each constant is, and who says so. The costs are in the units of their titles."""
    kept = {name: _read(results / name) for name in {each.file for each in COSTS.values()} - {""}}
    return {name: _found(each, kept.get(each.file)) for name, each in COSTS.items()}


def _read(file: Path) -> Any:
    return json.loads(file.read_text()) if file.exists() else None


def _found(known: Known, kept: Any) -> Cost:
    values = [] if kept is None else list(_values(kept, known.path))
    if not values:
        return Cost(known.otherwise, f"{known.source}, not kept")
    facts = kept.get("circumstances", {})
    return Cost(median(values), f"{known.file}, {str(facts.get('date', ''))[:10]}")


def _values(kept: Any, path: Sequence[str]) -> list[float]:
    if not path:
        return [float(kept)]
    if path[0] == "*":
        return [value for each in kept for value in _values(each, path[1:])]
    if not isinstance(kept, Mapping) or path[0] not in kept:
        return []
    return _values(kept[path[0]], path[1:])
