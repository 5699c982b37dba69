"""The page about the demos has them all, each with its command and a picture that loads fast."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "demos.md"
DEMOS = sorted(run.parent.name for run in ROOT.glob("demos/*/run.py"))
LARGEST_PICTURE = 120_000  # bytes


@pytest.mark.parametrize("demo", DEMOS)
def test_every_demo_is_on_the_page_and_has_one_of_its_own(demo: str) -> None:
    text = PAGE.read_text()
    assert f"python demos/{demo}/run.py" in text or demo == "todo"  # that one is `make demo`
    assert f"](../demos/{demo}/README.md)" in text
    assert f"demos/{demo}/run.py" in (ROOT / "demos" / demo / "README.md").read_text()


def test_pictures_are_small() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE.read_text())
    assert len(pictures) == len(DEMOS) + 1  # and `snorky demo`
    for picture in pictures:
        assert (PAGE.parent / picture).stat().st_size <= LARGEST_PICTURE, picture
