"""The table of what Snorky 0.1 promised: every clause has its tests, and they are there."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGES = ["contract.md", "contract_details.md"]


def rows(page: str) -> Iterator[tuple[str, str]]:
    """Promise and tests of each row."""
    for line in (HERE / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("|") and line not in ("| promise | tests |", "|---|---|"):
            cells = re.split(r"(?<!\\)\|", line)
            assert len(cells) == 4, f"expected a promise and its tests, got {line}"
            yield cells[1].strip(), cells[2].strip()


ROWS = [row for page in PAGES for row in rows(page)]


def named(tests: str) -> Iterator[tuple[str, str]]:
    """File and name of each test in a cell."""
    for test in tests.split("<br>"):
        quoted = re.fullmatch(r"(`+) ?(.+?)::(.+?) ?\1", test)
        assert quoted is not None, f"expected `path::name`, got {test!r}"
        yield quoted[2], quoted[3]


@cache
def names_in(path: str) -> frozenset[str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    return frozenset(python_tests(text) if path.endswith(".py") else javascript_tests(text))


def python_tests(text: str) -> Iterator[str]:
    for node in ast.parse(text).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + member.name


def javascript_tests(text: str) -> Iterator[str]:
    """Titles, those of the describe blocks around them first. Relies on Prettier's indentation."""
    around: list[tuple[int, str]] = []
    for block in re.finditer(r"^( *)(describe|test)(\.each)?(?=\()", text, re.MULTILINE):
        end = end_of_parentheses(text, block.end()) if block[3] else block.end()
        title = re.compile(r'\(\s*(["`])(.*?)\1,').match(text, end)
        assert title is not None, f"expected a title, got {text[end : end + 80]!r}"
        indent = len(block[1])
        around = [each for each in around if each[0] < indent]
        if block[2] == "describe":
            around.append((indent, title[2]))
        else:
            yield " > ".join([*(each[1] for each in around), title[2]])


def end_of_parentheses(text: str, start: int) -> int:
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|[()]', text[start:]):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0:
            return start + token.end()
    raise AssertionError(f"expected a closing parenthesis after {text[start : start + 80]!r}")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_a_table_per_chapter(page: str) -> None:
    text = (HERE / page).read_text(encoding="utf-8")
    assert text.count("\n## ") > 5
    assert len(list(rows(page))) > 120
    for line in text.splitlines():
        # A row that does not look like one would be nobody's.
        assert "::" not in line or line.startswith("|"), line


def test_no_promise_is_listed_twice() -> None:
    assert [promise for promise, count in Counter(p for p, _ in ROWS).items() if count > 1] == []


def test_every_promise_has_words_and_tests() -> None:
    assert [row for row in ROWS if not all(row)] == []


def test_every_test_is_there() -> None:
    missing = [
        f"{path}::{name}"
        for _, tests in ROWS
        for path, name in named(tests)
        if not (ROOT / path).is_file() or name not in names_in(path)
    ]
    assert missing == []


def test_no_promise_names_a_test_twice() -> None:
    twice = [promise for promise, tests in ROWS if max(Counter(named(tests)).values()) > 1]
    assert twice == []
