"""From the commit of a session to the page, and back: blocking and with asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport, aio
from snorky.backend.datasync import DataSync
from snorky.backend.sqlalchemy import BlockingLists, Lists, LiveQuery, Outbox
from snorky.filters import BadQuery, field
from tests.backend.sqlalchemy.conftest import Task
from tests.patience import patient

ASKING = {"X-Snorky": "Subscribe"}

pytestmark = [
    pytest.mark.usefixtures("each_fanout"),
    pytest.mark.parametrize("server", [{"main": []}], indirect=True),
]


@pytest.fixture
def outbox(engine: Engine, server: Any) -> Iterator[Outbox]:
    outbox = Outbox(engine, server.backend_url, server.key)
    yield outbox
    outbox.close()


def test_one_filter_makes_query_and_subscription_and_writes_arrive(
    server: Any, page: Any, engine: Engine, outbox: Outbox
) -> None:
    transport = SnorkyHTTPTransport(server.backend_url, server.key)
    lists = BlockingLists(DataSync(SnorkyBackend(transport)), outbox)
    with Session(engine) as session, session.begin():
        session.add_all([Task(title="a", votes=1), Task(title="b", votes=5)])

    query = LiveQuery(
        Task, field("votes") > 0, '["<","votes",3]', fields={"votes"}, dealer="OpenTasks"
    )
    with lists.read(ASKING) as reading, Session(engine) as session:
        reading.subscribe(query.items)
        assert [task.title for task in session.scalars(query.statement)] == ["a"]
    opened = page.open(reading.headers["X-Subscription-Token"])
    assert opened["live"]

    with lists.write({}) as writing, Session(engine) as session, session.begin():
        session.add(Task(title="c", votes=2))
        session.add(Task(title="d", votes=9))
    [key] = writing.headers["X-Snorky-Keys"].split(",")
    [change] = page.next_frame()["changes"]
    assert (change["data"]["title"], change["in"]) == ("c", opened["items"])
    assert page.call("datasync", "awaitKeys", keys=[key], timeout=patient(10))
    transport.close()


def test_a_wish_is_refused_before_anybody_is_subscribed(server: Any, engine: Engine) -> None:
    with pytest.raises(BadQuery, match="no field 'project_id'"):
        LiveQuery(Task, wish='["isnull","project_id",true]', fields={"votes"})


def test_nothing_is_gathered_where_a_write_failed(
    server: Any, engine: Engine, outbox: Outbox
) -> None:
    transport = SnorkyHTTPTransport(server.backend_url, server.key)
    lists = BlockingLists(DataSync(SnorkyBackend(transport)), outbox)
    with lists.write({}) as writing, Session(engine) as session:
        session.add(Task(title="a"))
        session.flush()
        session.rollback()
    assert writing.headers == {}
    transport.close()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_the_same_with_asyncio(server: Any, engine: Engine) -> None:
    engine_of_loop = create_async_engine(engine.url)
    outbox = Outbox(engine_of_loop, server.backend_url, server.key)
    async with aio.SnorkyHTTPTransport(server.backend_url, server.key) as transport:
        lists = Lists(aio.DataSync(aio.SnorkyBackend(transport)), outbox)
        async with (
            lists.write({"Origin": "https://elsewhere"}) as writing,
            AsyncSession(engine_of_loop) as session,
            session.begin(),
        ):
            session.add(Task(title="a"))
        assert len(writing.headers["X-Snorky-Keys"].split(",")) == 1
        assert writing.headers["Access-Control-Expose-Headers"] == "X-Snorky-Keys"

        query = LiveQuery(Task, dealer="AllTasks")
        async with lists.read(ASKING) as reading, AsyncSession(engine_of_loop) as session:
            await reading.subscribe(query.items)
            assert [task.title for task in await session.scalars(query.statement)] == ["a"]
        assert reading.token is not None
        assert (await lists.datasync.head()).split(".")[1] != ""
    outbox.close()
    await engine_of_loop.dispose()
