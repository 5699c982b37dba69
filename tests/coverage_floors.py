"""Whether every layer is tested as far as it was: ``make coverage``.

Reads what coverage.py measured and compares each layer with its floor, in per cent of its lines.
The core, the ground, the protocols and the brokers are tested to the last line. Functions of these
that no test reaches are excused by name, with the reason.
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

PROTOCOLS, BROKERS = "protocols", "brokers"
FLOORS = {
    PROTOCOLS: 100.0,
    BROKERS: 100.0,
    GROUND: 100.0,
    CORE: 100.0,
    PARTS: 98.0,
    EDGES: 96.0,
    APART: 96.0,
    TOOLS: 93.0,
}
EXCUSED: dict[tuple[str, str], str] = {}
"""(file, function) -> why none of its lines need be reached."""


@dataclass
class Layer:
    lines: int = 0
    missing: dict[str, list[int]] = field(default_factory=dict)  # by file

    @property
    def per_cent(self) -> float:
        missing = sum(map(len, self.missing.values()))
        return 100 * (1 - missing / self.lines) if self.lines else 100.0


def layer(file: str) -> str:
    """Of ``snorky/...py``; protocols and brokers have floors of their own."""
    parts = file.removesuffix(".py").removesuffix("/__init__").split("/")
    name = parts[1] if len(parts) > 1 else ""
    return name if name in (PROTOCOLS, BROKERS) else layer_of(".".join(parts))


def measure(files: dict[str, Any]) -> dict[str, Layer]:
    layers: dict[str, Layer] = defaultdict(Layer)
    for file, measured in files.items():
        found = layers[layer(file)]
        missing = [
            line
            for name, function in measured["functions"].items()
            if (file, name) not in EXCUSED
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
