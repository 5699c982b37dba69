"""``snorky triggers``: what it says to people."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from snorky.cli import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app with spaces.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE task (id integer PRIMARY KEY, title text, photo blob)")
    database.execute("CREATE TABLE note (id integer PRIMARY KEY)")
    database.close()
    return path


def run(command: str, file: Path | str, *words: str) -> Result:
    address = f"sqlite:///{file}" if isinstance(file, Path) else file
    return CliRunner().invoke(main, ["triggers", command, address, *words])


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_install_says_what_it_installed(file: Path) -> None:
    assert run("install", file, "task", "note").output.splitlines() == [
        "note: installed",
        "task: installed, left out: photo",
    ]


def test_status_is_a_table(file: Path) -> None:
    run("install", file, "task")
    sqlite3.connect(file, isolation_level=None).execute("INSERT INTO task VALUES (1, 'a', NULL)")
    found = run("status", file, "task", "note").output
    assert lines(found)[:3] == [
        ["TABLE", "TRIGGERS"],
        ["task", "installed", "left", "out:", "photo"],
        ["note", "missing"],
    ]
    assert "Outbox: length 1 row (" in found
    assert "seconds ago" in found


def test_remove_removes(file: Path) -> None:
    run("install", file, "task")
    assert run("remove", file, "task").output == "task: removed\n"
    assert "No triggers are installed." in run("status", file).output


def test_the_bounds_are_options(file: Path) -> None:
    run("install", file, "task", "--max-row-bytes", "10", "--max-outbox-bytes", "5000")
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("INSERT INTO task VALUES (1, 'longer than that', NULL)")
    assert database.execute("SELECT old_data, new_data FROM snorky_outbox").fetchall() == [
        (None, None)
    ]


@pytest.mark.parametrize(
    ("command", "words", "text"),
    [
        ("install", ["nothing"], "There is no table nothing in the database."),
        ("remove", ["task"], "task has no triggers of Snorky."),
    ],
)
def test_what_cannot_be_done_is_said(file: Path, command: str, words: list[str], text: str) -> None:
    found = run(command, file, *words)
    assert found.exit_code == 1
    assert found.output == f"Error: {text}\n"


def test_addresses_are_checked(tmp_path: Path) -> None:
    assert "sqlite:////absolute/path or postgresql://..." in run("status", "mysql://x").output
    assert "There is no file" in run("status", tmp_path / "none.sqlite").output
    assert run("status", "postgresql://127.0.0.1:1/none").output.startswith(
        "Error: Cannot connect: "
    )


def test_postgresql_does_as_well(postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE task (id integer PRIMARY KEY)")
        connection.execute("CREATE SCHEMA shop")
        connection.execute("CREATE TABLE shop.orders (id integer)")
        assert run("install", postgres_url, "task", "shop.orders").output.splitlines() == [
            "shop.orders: installed, no primary key: the dealers' key must be a column of it",
            "task: installed",
        ]
        connection.execute("INSERT INTO task VALUES (1)")
        found = run("status", postgres_url).output
        assert ["task", "installed"] in lines(found)
        assert "Outbox: length 1 row (" in found
        assert run("remove", postgres_url, "task", "shop.orders").exit_code == 0
        assert run("status", postgres_url, "task").output.splitlines()[1].split() == [
            "task",
            "missing",
        ]
