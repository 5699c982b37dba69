"""Whether every layer is tested as far as it was: ``make coverage``.

Reads what coverage.py measured and compares each layer with its floor, in per cent of its lines.
The core, the ground, the protocols and the brokers are tested to the last line. Functions of these
that no test reaches are excused by name, with the reason; so are lines of the engines' brokers that
only a connection reaches which ends at one moment and no other.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.test_imports import APART, CORE, EDGES, GROUND, PARTS, ROOT, TOOLS, layer_of

PROTOCOLS, BROKERS, FILTERS = "protocols", "brokers", "filters"
FLOORS = {
    PROTOCOLS: 100.0,
    BROKERS: 100.0,
    FILTERS: 97.0,
    GROUND: 100.0,
    CORE: 100.0,
    PARTS: 98.0,
    EDGES: 96.0,
    APART: 96.0,
    TOOLS: 93.0,
}
EXCUSED: dict[tuple[str, str], str] = {}
"""(file, function) -> why none of its lines need be reached."""

LEFT_TO_CHANCE: dict[str, dict[str, int]] = {
    "snorky/brokers/postgres/__init__.py": {
        "PostgresBroker.publish": 1,  # a hundred thousand while one subscription is under way
        "PostgresBroker.stop": 2,  # the database takes nothing any more
        "PostgresBroker.check": 1,  # a message does not come back
        "PostgresBroker._use": 1,  # a fault of our own
    },
    "snorky/brokers/postgres/following.py": {
        "Following.open": 1,  # opened twice at once
        "Following._read_all": 1,  # trimmed while it is read
        "Following.take": 1,  # somebody has deleted it
    },
    "snorky/brokers/postgres/link.py": {"Link.open": 3},  # lost while it is set up
    "snorky/brokers/postgres/reader.py": {
        "Reader.written": 1,  # the reader was lost, the writer was not
        "_refuse": 1,
    },
    "snorky/brokers/postgres/writer.py": {
        "Writer._write_publications": 1,  # the database refuses, and stays
        "Writer._write_group": 6,
    },
    "snorky/brokers/redis/link.py": {
        "Link.check": 1,  # asked while subscriptions are made again
        "Link.run_script": 1,  # stopped while a log is used
        "Link._prepare": 2,  # the server forbids to ask what it can do
    },
    "snorky/brokers/redis/log.py": {
        "RedisLog.start": 5,  # lost while what is kept is read
        "RedisLog.newest.answered": 1,  # asked while the log begins anew
        "RedisLog._wait_for_asking": 2,  # another process asks, and its word is lost
        "RedisLog._follow": 1,  # a fault of our own
        "RedisLog._continues": 1,  # begun anew under our hands
        "RedisLog._look": 1,
        "RedisLog._load": 2,
    },
    "snorky/brokers/redis/pipe.py": {"Pipe.stop": 1},  # it never ran
}
"""File -> function -> how many of its lines need not be reached: which are, is chance. Servers that
stop, hang and lose what they had are in the tests of the brokers and in ``tests/convergence``."""


@dataclass
class Layer:
    lines: int = 0
    missing: dict[str, list[int]] = field(default_factory=dict)  # by file

    @property
    def per_cent(self) -> float:
        missing = sum(map(len, self.missing.values()))
        return 100 * (1 - missing / self.lines) if self.lines else 100.0


def layer(file: str) -> str:
    """Of ``snorky/...py``; protocols, brokers and filters have floors of their own."""
    parts = file.removesuffix(".py").removesuffix("/__init__").split("/")
    name = parts[1] if len(parts) > 1 else ""
    return name if name in (PROTOCOLS, BROKERS, FILTERS) else layer_of(".".join(parts))


def measure(files: dict[str, Any]) -> dict[str, Layer]:
    layers: dict[str, Layer] = defaultdict(Layer)
    for file, measured in files.items():
        found = layers[layer(file)]
        missing = [
            line
            for name, function in measured["functions"].items()
            if (file, name) not in EXCUSED
            and len(function["missing_lines"]) > LEFT_TO_CHANCE.get(file, {}).get(name, 0)
            for line in function["missing_lines"]
        ]
        found.lines += measured["summary"]["num_statements"]
        if missing:
            found.missing[file] = sorted(missing)
    return layers


def faults(files: dict[str, Any]) -> Iterator[str]:
    """What there is to say against these measurements."""
    for name, found in sorted(measure(files).items()):
        if found.per_cent < FLOORS[name]:
            yield f"{name}: {found.per_cent:.2f} %, the floor is {FLOORS[name]:.0f} %"
            for file, lines in found.missing.items():
                yield f"    {file}:{','.join(map(str, lines))}"
    for file, function in EXCUSED:
        measured = files.get(file, {"functions": {}})["functions"].get(function)
        if measured is None or not measured["missing_lines"]:
            yield f"{file}: {function} needs no excuse"


def main(report: Path) -> int:
    files = json.loads(report.read_text())["files"]
    for name, found in sorted(measure(files).items()):
        print(f"{name:10} {found.per_cent:6.2f} %  of {found.lines} lines")
    found_faults = list(faults(files))
    print(*found_faults, sep="\n")
    return 1 if found_faults else 0


if __name__ == "__main__":
    sys.exit(main(ROOT / "build/coverage/coverage.json"))
