"""The pages on how it works inside speak of files, and of rules, that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.convergence.breakages import MODE_OF
from tests.test_imports import APART, CORE, EDGES, GROUND, PARTS, TOOLS, layer_of

ROOT = Path(__file__).parent.parent.parent
TOPICS = ROOT / "docs" / "topics"
PAGES = [*sorted(TOPICS.glob("*.md")), ROOT / "CONTRIBUTING.md"]
FILE = re.compile(r"`([\w/.]+(?:\.py|\.c|\.ts|\.md|/))`")
UNDER = [ROOT, ROOT / "snorky", ROOT / "client", *(ROOT / "snorky").rglob("*/")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    named = set(FILE.findall(page.read_text()))
    made = {"dist/", "build/"}
    missing = {name for name in named - made if not any((up / name).exists() for up in UNDER)}
    assert missing == set()


def test_every_rule_that_is_broken_on_purpose_is_on_the_page() -> None:
    page = (TOPICS / "live-lists.md").read_text()
    broken = re.findall(r"(?m)^\| [^|]+ \| ((?:`[\w ]+`(?:, )?)+) \|", page)
    assert set(re.findall(r"`([\w ]+)`", "".join(broken))) == set(MODE_OF)


def test_the_layers_of_the_house_are_those_that_imports_keep() -> None:
    page = (TOPICS / "house.md").read_text()
    for layer in (GROUND, CORE, PARTS, EDGES, TOOLS, APART):
        row = re.search(rf"(?m)^\| {layer} \| (.*?) \|", page)
        assert row is not None
        for name in re.findall(r"`([\w/.]+)`", row[1]):
            module = "snorky." + name.removesuffix(".py").rstrip("/").replace("/", ".")
            found = layer_of(module + ".some" if layer == PARTS else module)
            assert found == layer, f"{name} is {found}"
