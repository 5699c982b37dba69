"""The manual's programs are files, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("*.md", "docs/**/*.md", "demos/*/*.md", "client/*.md", "benchmarks/*.md")
PAGES = sorted(
    page for folder in FOLDERS for page in ROOT.glob(folder) if page.name != "CHANGELOG.md"
)
INCLUDED = re.compile(r"<!-- file: (?P<file>\S+) -->\n```\w*\n(?P<text>.*?)```\n", re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def included_files(page: Path) -> list[tuple[Path, str]]:
    return [
        (ROOT / "docs" / m["file"].removeprefix("docs/"), m["text"])
        for m in INCLUDED.finditer(page.read_text())
    ]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_programs_on_a_page_are_the_files_they_name(page: Path) -> None:
    for file, text in included_files(page):
        assert text == file.read_text(), f"{page.name} shows {file.name} as it is not"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text()):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"\w+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
            assert anchor in anchors, f"{page.name} links #{anchor}, {file.name} has {anchors}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_no_page_has_both_sides_of_a_merge(page: Path) -> None:
    assert not re.search(r"(?m)^(<{7}|>{7}) ", page.read_text())


def test_every_example_is_on_a_page() -> None:
    shown = {file for page in PAGES for file, _ in included_files(page)}
    examples = [f for f in ROOT.glob("docs/examples/**/*.*") if "__pycache__" not in f.parts]
    assert set(examples) - shown == set()
