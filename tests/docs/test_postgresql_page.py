"""The program and the commands of the page about PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import websockets
from click.testing import CliRunner

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.cli import main
from tests.docs.test_examples import EXAMPLES
from tests.docs.test_examples import Page as Socket

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "postgresql.md").read_text()


async def test_two_processes_serve_the_same_news(
    postgres_url: str, serve: Callable[..., Any]
) -> None:
    made = await asyncio.to_thread(CliRunner().invoke, main, ["broker", "init", postgres_url])
    assert made.output == re.search(r"The schema .*\n", PAGE)[0]  # type: ignore[index]

    file = EXAMPLES / "postgresql" / "live.py"
    one, two = [serve(file, SNORKY_DATABASE_URL=postgres_url) for _ in range(2)]
    async with websockets.connect(one.url) as first, websockets.connect(two.url) as second:
        for socket in (first, second):
            assert await Socket(socket).call("news", "subscribe", channel="shop") is None
        await asyncio.to_thread(publish, two.backend_url, "We are open")
        for socket in (first, second):
            told = await Socket(socket).receive()
            assert told == {"type": "message", "channel": "shop", "message": "We are open"}


def publish(url: str, message: str) -> None:
    transport = SnorkyHTTPTransport(url, "swordfish")
    SnorkyBackend(transport).call("news_backend", "publish", channel="shop", message=message)
    transport.close()


def test_the_statements_for_those_who_look_after_it_run(postgres_url: str) -> None:
    CliRunner().invoke(main, ["broker", "init", postgres_url])
    [block] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for statement in block.split(";"):
            if statement.strip():
                assert connection.execute(statement).description


def test_a_process_without_the_schema_says_what_to_run(
    postgres_url: str, serve: Callable[..., Any]
) -> None:
    server = serve(EXAMPLES / "postgresql" / "live.py", SNORKY_DATABASE_URL=postgres_url)
    server.wait_for("Error: .*snorky broker init postgresql://")
    assert server.end() == 1
