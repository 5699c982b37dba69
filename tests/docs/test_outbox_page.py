"""The files of the pages on the outbox and on its relay, in use."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import websockets
from click.testing import CliRunner

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.outbox import postgresql_triggers, sqlite_triggers
from snorky.cli import main
from snorky.cli.relay import relay as relay_command
from tests.conftest import Program
from tests.docs.debian_programs import program
from tests.patience import patient

ROOT = Path(__file__).parent.parent.parent
FILES = ROOT / "docs" / "examples" / "outbox"
PAGES = (ROOT / "docs/guide/outbox.md", ROOT / "docs/howto/relay.md")
KEY = {"SNORKY_API_KEY": "swordfish"}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with the files and a database with triggers."""
    for file in FILES.glob("*.py"):
        shutil.copy(file, tmp_path)
    database = sqlite3.connect(tmp_path / "app.sqlite", isolation_level=None)
    database.executescript((FILES / "tickets.sql").read_text())
    sqlite_triggers.install(database, ["tickets"])
    database.close()
    return tmp_path


@pytest.fixture
def tickets(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute((FILES / "tickets.sql").read_text())
        postgresql_triggers.install(connection, ["tickets"])
        yield connection


@pytest.fixture
def run(app: Path) -> Iterator[Any]:
    """``run(*words)`` starts snorky with these words, in the folder."""
    running: list[Program] = []

    def start(*words: str, **env: str) -> Program:
        command = [sys.executable, "-m", "snorky", *words]
        running.append(Program(command, {**KEY, **env}, cwd=app))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def served(run: Any, file: str, **env: str) -> tuple[Program, str]:
    """A server, and the address of its back end."""
    server = run("serve", file, "--port", "0", "--backend-port", "0", **env)
    port = server.wait_for(r"/live at http://.*:(\d+)")[1]
    return server, f"http://127.0.0.1:{port}/backend"


def sql(database: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_the_commands_of_the_page_are_there() -> None:
    """Each line of a console that begins with snorky, up to its arguments."""
    text = "\n".join(page.read_text() for page in PAGES)
    commands = re.findall(r"^\$ snorky (.*?)(?: &)?$", text, re.MULTILINE)
    assert len(commands) > 3
    for command in commands:
        words = [word for word in shlex.split(command) if not word.startswith("sqlite:")]
        known = [words[0], words[1]] if words[0] == "triggers" else [words[0]]
        help_text = CliRunner().invoke(main, [*known, "--help"]).output
        for option in (word for word in words if word.startswith("--")):
            assert option in help_text


@pytest.mark.parametrize("inside", [False, True], ids=["beside", "inside"])
async def test_a_row_that_sql_writes_reaches_the_page(run: Any, app: Path, inside: bool) -> None:
    address = f"sqlite:///{app / 'app.sqlite'}"
    file = "one_program.py" if inside else "live.py"
    server, url = served(run, file, DATABASE_URL=address)
    if not inside:
        run("relay", address, "--backend-url", url).wait_for("^Relay ready$")
    transport = SnorkyHTTPTransport(url, "swordfish")
    items = [{"dealer": "Tickets", "query": ["==", "team", "red"]}]
    call = SnorkyBackend(transport).call
    token = call("datasync_backend", "authorizeSubscription", items=items)
    transport.close()
    async with websockets.connect(server.wait_for(r"(ws://127\S+)")[1]) as page:
        params = {"subscriptions": [{"token": token}]}
        message = {"command": "openSubscriptions", "params": params, "callId": 1}
        await page.send(json.dumps({"service": "datasync", "message": message}))
        assert json.loads(await page.recv())["message"]["data"][0]["recovered"]
        assert json.loads(await page.recv())["message"]["type"] == "live"
        (line,) = re.findall(r'sqlite3 app.sqlite "(INSERT.*)"', PAGES[0].read_text())
        sql(app / "app.sqlite", line)
        (change,) = json.loads(await page.recv())["message"]["changes"]
        assert change["data"]["title"] == "The printer is on fire"


def test_rows_are_shown_as_the_function_says(run: Any, app: Path) -> None:
    _, url = served(run, "live.py")
    sql(app / "app.sqlite", "INSERT INTO tickets VALUES (1, 'red', 'a', 0)")
    address = f"sqlite:///{app / 'app.sqlite'}"
    relay = run("relay", address, "--backend-url", url, "--represent", "shown:rows")
    relay.wait_for("^Relay ready$")
    assert "cannot be shown" not in "\n".join(relay.lines)


def test_a_write_in_python_answers_its_key(
    tickets: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FILES))
    import close

    tickets.execute("INSERT INTO tickets VALUES (1, 'red', 'a', false)")
    headers = close.close_tickets(tickets, "red")
    assert re.fullmatch("[0-9a-f]{32}", headers["X-Snorky-Keys"])
    assert tickets.execute("SELECT closed FROM tickets").fetchone() == (True,)


def test_a_write_in_sql_answers_its_key(tickets: psycopg.Connection[Any], app: Path) -> None:
    text = (FILES / "close.sql").read_text()
    found = [tickets.execute(statement) for statement in text.split(";") if statement.strip()]
    assert re.fullmatch("[0-9a-f]{32}", found[2].fetchone()[0])
    done = subprocess.run(
        ["sqlite3", "-bail", app / "app.sqlite"],
        input=(FILES / "close_sqlite.sql").read_text(),
        capture_output=True,
        text=True,
        check=True,
    )
    key = done.stdout.strip()
    assert sql(app / "app.sqlite", "SELECT tx_key FROM snorky_outbox") == [(key,)]


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("close.rb", ["ruby", "-c"]),
        ("install_triggers.rb", ["ruby", "-c"]),
        ("close.php", ["php", "-l"]),
    ],
)
def test_other_languages_are_written_as_they_should_be(file: str, command: list[str]) -> None:
    name, *options = command
    if found := shutil.which(name):
        subprocess.run([found, *options, FILES / file], check=True, capture_output=True)
    text = (FILES / file).read_text()
    assert "SELECT snorky_key()" in text or "snorky" in text


def test_the_relay_needs_no_more_rights_than_the_page_grants(
    tickets: psycopg.Connection[Any], postgres_url: str, run: Any
) -> None:
    for statement in (FILES / "grants.sql").read_text().split(";"):
        tickets.execute(statement)
    address = postgres_url.replace("//postgres@", "//snorky_relay:password@")
    _, url = served(run, "live.py")
    relay = run("relay", address, "--backend-url", url)
    relay.wait_for("^Relay ready$")
    tickets.execute("INSERT INTO tickets VALUES (1, 'red', 'a', false)")
    ends = patient(10)
    count = "SELECT count(*) FROM snorky_outbox"
    while tickets.execute(count).fetchone() != (0,):
        ends -= 0.02
        assert ends > 0
        tickets.execute("SELECT pg_sleep(0.02)")
    relay.stop()
    tickets.execute("DROP OWNED BY snorky_relay; DROP ROLE snorky_relay")


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    text = (FILES / "relay.service").read_text()
    command = str(Path(sys.executable).with_name("snorky"))
    unit = tmp_path / "relay.service"
    unit.write_text(text.replace("/opt/snorky/venv/bin/snorky", command))
    analyze, env = program("systemd", "usr/bin/systemd-analyze")
    done = subprocess.run(
        [analyze, "--no-pager", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **env},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    [
        re.search(r"ExecStart=(.*)", (FILES / "relay.service").read_text()),
        re.search(r"command: (.*)", (FILES / "compose.yaml").read_text()),
    ],
    ids=["unit", "container"],
)
def test_the_commands_of_services_are_understood(line: re.Match[str]) -> None:
    _, _, *words = shlex.split(line[1])
    relay_command.make_context("relay", words)
