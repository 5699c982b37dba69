"""The tests of the page on testing pass, and fail where what they test is broken."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import CHROMIUM_NAMES

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "testing"
    shutil.copytree(EXAMPLES / "testing", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def run(run_program: Callable[..., Any], folder: Path, *names: str, **env: str) -> Any:
    return run_program([*PYTEST, *names], cwd=folder, **env)


def test_the_tests_of_the_auction_pass(run_program: Callable[..., Any], folder: Path) -> None:
    done = run(run_program, folder, "test_auction.py", "test_socket.py")
    assert done.end() == 0, done.lines
    assert "5 passed" in done.lines[-1]


@pytest.mark.parametrize(
    ("right", "wrong", "failed"),
    [
        ("amount <= self.best", "amount < self.best", 1),
        ("self.room.discard(client)", "pass", 1),
        ("req.client.identity}", '"nobody"}', 2),
        ("amount: int", "amount", 1),
    ],
)
def test_they_fail_where_the_auction_is_broken(
    right: str, wrong: str, failed: int, run_program: Callable[..., Any], folder: Path
) -> None:
    text = (folder / "auction.py").read_text()
    assert right in text
    (folder / "auction.py").write_text(text.replace(right, wrong))
    done = run(run_program, folder, "test_auction.py", "test_socket.py")
    assert done.end() == 1
    assert f"{failed} failed" in done.lines[-1]


def test_the_test_of_the_page_passes(
    run_program: Callable[..., Any], serve: Callable[..., Any], folder: Path
) -> None:
    page = folder / "page.html"
    server = serve(folder / "auction.py", "--page", str(page))
    page.write_text(page.read_text().replace("5001", str(server.port)))
    browser = next(filter(None, map(shutil.which, CHROMIUM_NAMES)))
    url = f"http://127.0.0.1:{server.port}/"
    done = run(run_program, folder, "test_page.py", CHROMIUM=browser, AUCTION_PAGE=url)
    assert done.end() == 0, done.lines


def test_the_test_of_the_django_project_passes(
    run_program: Callable[..., Any], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(EXAMPLES / "django", project, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLES / "testing" / "test_tasks.py", project / "tasks" / "tests.py")
    env = {"SNORKY_API_KEY": "swordfish"}
    manage = [sys.executable, "manage.py"]
    made = run_program([*manage, "makemigrations", "tasks"], cwd=project, **env)
    assert made.end() == 0, made.lines
    done = run_program([*manage, "test"], cwd=project, **env)
    assert done.end() == 0, done.lines
    assert "OK" in done.lines
