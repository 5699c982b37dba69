"""A line that no test reaches any more is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from tests import coverage_floors


def measured(lines: int, **missing: list[int]) -> dict[str, Any]:
    return {
        "summary": {"num_statements": lines},
        "functions": {name: {"missing_lines": found} for name, found in missing.items()},
    }


def test_layers_are_judged_apart() -> None:
    files = {
        "snorky/protocols/sockjs.py": measured(1000, encode=[7, 9], decode=[]),
        "snorky/brokers/__init__.py": measured(100, publish=[]),
        "snorky/services/chat.py": measured(1000, join=[3]),
    }
    assert list(coverage_floors.faults(files)) == [
        "protocols: 99.80 %, the floor is 100 %",
        "    snorky/protocols/sockjs.py:7,9",
    ]


def test_some_lines_of_a_function_may_be_left_to_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    left = {"snorky/brokers/redis/log.py": {"start": 2}}
    monkeypatch.setattr(coverage_floors, "LEFT_TO_CHANCE", left)
    files = {"snorky/brokers/redis/log.py": measured(100, start=[7, 8], stop=[])}
    assert list(coverage_floors.faults(files)) == []
    files = {"snorky/brokers/redis/log.py": measured(100, start=[7, 8, 9], stop=[])}
    assert len(list(coverage_floors.faults(files))) == 2


def test_excuses_are_by_name_and_must_be_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    excused = {("snorky/fanout.py", "_extension"): "there was a compiler"}
    monkeypatch.setattr(coverage_floors, "EXCUSED", excused)
    files = {"snorky/fanout.py": measured(20, _extension=[30], write_to_all=[])}
    assert list(coverage_floors.faults(files)) == []
    files = {"snorky/fanout.py": measured(20, _extension=[], write_to_all=[40])}
    assert list(coverage_floors.faults(files)) == [
        "core: 95.00 %, the floor is 100 %",
        "    snorky/fanout.py:40",
        "snorky/fanout.py: _extension needs no excuse",
    ]
