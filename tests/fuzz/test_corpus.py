"""The beginnings of the searches by coverage, and what they have found, once more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

FILES = sorted(
    path
    for folder in ("corpus", "crashes")
    for path in (Path(__file__).parent / folder).glob("*/*")
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_what_was_kept_holds(file: Path) -> None:
    TARGETS[file.parent.name](file.read_bytes())


def test_every_target_has_somewhere_to_begin() -> None:
    assert {file.parent.name for file in FILES} == TARGETS.keys()
