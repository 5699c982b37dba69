"""Live lists of an application with SQLAlchemy: one filter makes the query and the subscription.

::

    lists = Lists(DataSync(snorky), outbox)

    async with lists.read(request.headers) as reading:
        user = check_permission(request)
        tasks = LiveQuery(Task, field("team") == user.team)
        await reading.subscribe(tasks.items)
        rows = (await session.scalars(tasks.statement.order_by(Task.id))).all()
    response.headers.update(reading.headers)

    async with lists.write(request.headers) as writing:
        async with session.begin():
            session.add(Task(...))
    response.headers.update(writing.headers)

What the session writes is told by the outbox; the block gathers the keys for the response. The
query must run in a transaction that begins after ``subscribe``: of a session that has not been used
yet, or after a commit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Select, select

from snorky.backend import aio, datasync, lists
from snorky.backend.exchange import snorky_log
from snorky.backend.headers import writing_headers
from snorky.backend.one_filter import chosen_filter
from snorky.backend.sqlalchemy.models import name_of
from snorky.backend.sqlalchemy.outbox import Outbox
from snorky.backend.sqlalchemy.writing import gathered_keys
from snorky.filters import to_sqlalchemy


class LiveQuery:
    """The rows of a class that a filter chooses: ``statement`` to query, ``items`` to subscribe.

    ``own`` is the application's filter, ``wish`` the page's, which may narrow it and name the
    ``fields`` that rows show: see `snorky.backend.one_filter`. ``dealer`` is its name in Snorky,
    the class's unless given. Raises BadQuery for what is wrong in the wish.
    """

    def __init__(
        self,
        mapped: type,
        own: Any = None,
        wish: Any = None,
        *,
        fields: Container[str] | None = None,
        dealer: str | None = None,
        types: Mapping[str, type] | None = None,
    ) -> None:
        chosen = chosen_filter(own, wish, fields=fields)
        self.statement: Select[Any] = select(mapped).where(to_sqlalchemy(chosen, mapped, types))
        self.items = [{"dealer": dealer or name_of(mapped), "query": chosen}]


class BlockingLists(lists.Lists):
    """For blocking applications: `snorky.backend.lists.Lists`, with an outbox."""

    def __init__(
        self, datasync: datasync.DataSync, outbox: Outbox, allowed_origins: Sequence[str] = ()
    ) -> None:
        super().__init__(datasync, allowed_origins)
        self.outbox = outbox

    @contextmanager
    def write(self, headers: Mapping[str, str]) -> Iterator[Any]:
        """Around the transactions of a request with these headers, their commits included."""
        with _gathering(self.complete, headers) as writing:
            yield writing

    def _is_told_all(self) -> bool:
        return self.outbox.drained() or _not_yet()


class Lists(aio.Lists):
    """For FastAPI and the like: `snorky.backend.aio.Lists`, with an outbox."""

    def __init__(
        self, datasync: aio.DataSync, outbox: Outbox, allowed_origins: Sequence[str] = ()
    ) -> None:
        super().__init__(datasync, allowed_origins)
        self.outbox = outbox

    @asynccontextmanager
    async def write(self, headers: Mapping[str, str]) -> AsyncIterator[Any]:
        """Around the transactions of a request with these headers, their commits included."""
        with _gathering(self.complete, headers) as writing:
            yield writing

    async def _is_told_all(self) -> bool:
        return await self.outbox.adrained() or _not_yet()


@contextmanager
def _gathering(
    complete: Callable[[dict[str, str], Mapping[str, str]], dict[str, str]],
    headers: Mapping[str, str],
) -> Iterator[lists.Response]:
    """Gather the keys of what is committed meanwhile, for the headers of the response."""
    keys: list[str] = []
    writing = lists.Response()
    before = gathered_keys.set(keys)
    try:
        yield writing
    finally:
        gathered_keys.reset(before)
    writing.headers = complete(writing_headers(keys), headers)


def _not_yet() -> bool:
    snorky_log.error("A list is answered without token: changes are not told yet")
    return False
