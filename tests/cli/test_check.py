"""``snorky check``: what it says of each kind of dealer, and of filters."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from snorky.cli import main

FILE = """
from datetime import datetime
from snorky import ServiceRegistry
from snorky.services.datasync import *
from snorky.services.datasync.dealers import *

class ByTeam(SimpleDealer):
    model = "Task"
    def get_key_for_model(self, row): return row["team"]

class ByFilter(FilterDealer):
    model = "Task"
    types = {"due": datetime}

class Everything(BroadcastDealer):
    model = "Task"

class Mine(FilterDealer):
    model = "Log"
    key = ("host", "number")
    def get_subscription_items_for_model(self, row): return []

class Report(RefetchDealer):
    models = ["Task", "Log"]

class Picky(RefetchDealer):
    models = ["Task"]
    def matches(self, row, query): return row["team"] == query

tasks = DataSyncService("tasks", [ByTeam, ByFilter, Everything, Mine, Report, Picky])
frontend = ServiceRegistry([tasks])
backend = ServiceRegistry([DataSyncBackend("tasks_backend", tasks)])
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checked.py"
    path.write_text(FILE)
    return path


def run(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, ["check", *map(str, words)])


def line_of(result: Result, name: str) -> str:
    [line] = [line for line in result.output.splitlines() if name in line.split()[1:2]]
    return " ".join(line.split())


def test_each_dealer_is_a_line(file: Path) -> None:
    result = run(file)
    assert result.exit_code == 0, result.output
    assert line_of(result, "ByTeam") == "tasks ByTeam Task id one look-up"
    assert line_of(result, "ByFilter").endswith("id due: datetime an index of its filters")
    assert line_of(result, "Everything").endswith("nothing: all hear of every row")
    assert line_of(result, "Mine") == ("tasks Mine Log host, number code of its own, for every row")
    assert line_of(result, "Report") == "tasks Report Task, Log id its models"
    assert line_of(result, "Picky").endswith("its models, then matches() for each query")


def test_those_that_are_asked_about_every_row_are_named(file: Path) -> None:
    told = [line for line in run(file).output.splitlines() if "is asked about every row" in line]
    assert [line.split()[0] for line in told] == ["Mine", "Picky"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ('["==", "team", 3]', "found by team =="),
        ('["and", [">=", "due", "2026-01-01T00:00:00Z"], ["<", "due", "2026-02-01T00:00:00Z"]]',
         "found by due between two bounds"),
        ('["or", ["==", "team", 3], ["startswith", "name", "A"]]',
         "found by team ==, name startswith"),
        ('["!=", "team", 3]', "checked for every row"),
        ('["or"]', "matches no row"),
    ],
)  # fmt: skip
def test_of_a_filter_it_says_how_it_is_found(file: Path, query: str, told: str) -> None:
    result = run(file, "--filter", "ByFilter", query)
    assert result.exit_code == 0, result.output
    assert told in result.output


@pytest.mark.parametrize(
    ("dealer", "query", "told"),
    [
        ("ByFilter", '["~", "team", 3]', "unknown operator '~'"),
        ("ByFilter", "[", "the filter is no JSON"),
        ("ByTeam", '["==", "team", 3]', "is no FilterDealer of this file; these are: ByFilter"),
        ("Nobody", '["==", "team", 3]', "is no FilterDealer of this file; these are: ByFilter"),
    ],
)
def test_a_filter_that_is_refused_is_an_error(
    file: Path, dealer: str, query: str, told: str
) -> None:
    result = run(file, "--filter", dealer, query)
    assert result.exit_code == 1
    assert told in result.output


def test_a_file_that_cannot_be_served_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("frontend = 1")
    result = run(tmp_path / "broken.py")
    assert result.exit_code == 1
    assert "must define frontend" in result.output


def test_a_file_without_dealers_has_nothing_to_tell(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text(
        "from snorky import ServiceRegistry\nfrontend = ServiceRegistry()"
    )
    assert "has no dealers" in run(tmp_path / "empty.py").output
