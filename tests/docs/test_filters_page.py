"""The page on filters: its table, its error texts, its programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snorky.filters import BadQuery, filter_matches
from snorky.filters.grammar import MAX_COMPARISONS, MAX_DEPTH, OPERATORS
from tests.patience import patient

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "reference" / "filters.md").read_text()
EXAMPLES = DOCS / "examples" / "filters"


def table(head: str) -> list[list[str]]:
    found = re.search(rf"(?m)^\| {head}.*\n\|[-|]+\n((?:\|.*\n)*)", PAGE)
    assert found is not None
    return [line.strip("|").split("|") for line in found[1].splitlines()]


def values(cell: str) -> list[Any]:
    return [json.loads(text) for text in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("row", table("filter"), ids=lambda row: row[0])
def test_the_filters_match_what_the_page_says(row: list[str]) -> None:
    filters, matching, others = map(values, row)
    for query in filters:
        assert [filter_matches(one, query) for one in matching] == [True] * len(matching)
        assert [filter_matches(one, query) for one in others] == [False] * len(others)


@pytest.mark.parametrize("row", table("faulty"), ids=lambda row: row[0])
def test_the_errors_are_those_on_the_page(row: list[str]) -> None:
    [query], error = values(row[0]), re.findall(r"`([^`]+)`", row[1])[0]
    with pytest.raises(BadQuery) as refusal:
        filter_matches({}, query)
    assert str(refusal.value) == error


def test_the_page_has_every_operator_and_limit() -> None:
    grammar = PAGE.split("```text")[1].split("```")[0]
    assert all(f'"{operator}"' in grammar for operator in OPERATORS)
    assert f"at most {MAX_COMPARISONS:,} comparisons" in PAGE
    assert f"{MAX_DEPTH} levels" in PAGE


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("one_filter.py", ["[1]", "True", "False", "['page 1', 'page 2']"]),
        ("orders.py", ["[1, 3]"]),
    ],
)
def test_the_programs_print_what_they_say(program: str, output: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=patient(30),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[: len(output)] == output


def test_the_pages_program_has_the_types_of_its_rows(tmp_path: Path) -> None:
    client = DOCS.parent / "client"
    options = {
        "compilerOptions": {
            "strict": True,
            "noEmit": True,
            "module": "ESNext",
            "moduleResolution": "Bundler",
            "target": "ES2020",
            "lib": ["ES2022", "DOM", "DOM.Iterable"],
            "types": [],
            "skipLibCheck": True,
            "paths": {"snorky": [str(client / "src" / "filters.ts")]},
        },
        "files": [str(EXAMPLES / "page.ts")],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(options))
    compiler = client / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        ["node", str(compiler), "--project", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
