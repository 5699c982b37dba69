"""The application of the chapter on SQLAlchemy, on PostgreSQL, beside a real Snorky."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy
import websockets
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from tests.browser.conftest import listens, wait_for
from tests.conftest import free_port
from tests.docs.test_lists_chapter import ASKING, Page

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples" / "sqlalchemy"


def migrate(url: str, direction: str) -> None:
    spec = spec_from_file_location("revision", EXAMPLES / "add_tasks_and_outbox.py")
    assert spec is not None
    assert spec.loader is not None
    revision = module_from_spec(spec)
    spec.loader.exec_module(revision)
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        getattr(revision, direction)()
    engine.dispose()


@pytest.fixture
def database(postgres_url: str) -> str:
    url = postgres_url.replace("postgresql://", "postgresql+psycopg://")
    migrate(url, "upgrade")
    return url


async def test_the_tasks_of_a_team_are_live_and_narrowed_by_the_page(
    serve: Callable[..., Any], run_program: Callable[..., Any], database: str
) -> None:
    snorky = serve(EXAMPLES / "live.py")
    port = free_port()
    run_program(
        [sys.executable, "-m", "uvicorn", "task_site:app", "--port", str(port)],
        cwd=EXAMPLES,
        SNORKY_API_KEY="swordfish",
        SNORKY_BACKEND_URL=snorky.backend_url,
        DATABASE_URL=database,
    )
    wait_for(lambda: listens(port), "the site listens")
    url = f"http://127.0.0.1:{port}/api/tasks/"
    open_ones = {"only": '["==","done",false]'}
    assert httpx2.get(url, params={"only": "[]"}, headers=ASKING).status_code == 400
    answer = httpx2.get(url, params=open_ones, headers=ASKING)
    assert answer.json() == []

    async with websockets.connect(snorky.url) as socket:
        page = Page(socket)
        token = answer.headers["X-Subscription-Token"]
        [opened] = await page.call("openSubscriptions", subscriptions=[{"token": token}])
        assert opened["live"]
        made = httpx2.post(url, json={"title": "Buy milk"}, headers={"X-User": "ann"})
        row = {"id": 1, "team": 1, "title": "Buy milk", "done": False}
        assert made.json() == row
        assert await page.changes() == [(1, row)]
        httpx2.post(url, json={"title": "Not hers"}, headers={"X-User": "bob"})
        done = httpx2.post(url + "finish/", headers={"X-User": "ann"})
        assert await page.changes() == [(1, None)]
        assert await page.call("awaitKeys", keys=done.headers["X-Snorky-Keys"].split(","))


def test_the_revision_goes_both_ways(database: str) -> None:
    migrate(database, "downgrade")
    migrate(database, "upgrade")
