"""Live lists of asyncio web applications: see `snorky.backend.lists`.

::

    async with lists.read(request.headers) as reading:
        user = await check_permission(request)
        await reading.subscribe([{"dealer": "Tasks", "query": user.id}])
        rows = await query(user)
    response.headers.update(reading.headers)
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from snorky.backend.aio.datasync import DataSync
from snorky.backend.datasync import Items
from snorky.backend.entries import Change, new_key
from snorky.backend.exchange import SnorkyError, snorky_log
from snorky.backend.headers import reading_headers, wants_subscription, writing_headers
from snorky.backend.lists import CrossOrigin, Response, Writing


class Reading(Response):
    """A page's request for rows. ``token`` is None where it asked for none, or Snorky is away."""

    def __init__(self, datasync: DataSync, asked: bool, place: str | None) -> None:
        super().__init__()
        self.asked = asked
        self.token: str | None = None
        self._datasync = datasync
        self._place = place

    async def subscribe(self, items: Items, subject: Any = None) -> None:
        """Let the page hear of these items, if it asked to. After the check, before the query."""
        if self.asked:
            try:
                self.token = await self._datasync.authorize(items, subject, self._place)
            except (RuntimeError, SnorkyError) as error:
                snorky_log.error("A list is answered without subscription: %s", error)


class Lists(CrossOrigin):
    """For the tasks of one event loop; ``allowed_origins`` as `snorky.backend.lists.Lists` says."""

    def __init__(self, datasync: DataSync, allowed_origins: Sequence[str] = ()) -> None:
        super().__init__(allowed_origins)
        self.datasync = datasync

    @asynccontextmanager
    async def read(self, headers: Mapping[str, str]) -> AsyncIterator[Reading]:
        """Around the permission check and the query of a request with these headers."""
        asked = wants_subscription(headers)
        reading = Reading(self.datasync, asked, await self._place() if asked else None)
        yield reading
        if reading.token is not None and not await self._is_told_all():
            reading.token = None
        response = reading_headers(asked=asked, token=reading.token)
        reading.headers = self.complete(response, headers)

    @asynccontextmanager
    async def write(self, headers: Mapping[str, str]) -> AsyncIterator[Writing]:
        """Around the transaction of a request with these headers, its commit included.

        What the block has noted is published when it ends, and not where it raises. A failure of
        Snorky is logged, and its pages are told to fetch anew when it is back.
        """
        writing = Writing(self.datasync.snorky.json.dumps)
        keys: list[str] = []
        async with self.datasync.turn.taken() as in_turn:
            yield writing
            key = new_key()
            if writing.changes and await self._publish(writing.changes, key, in_turn):
                keys = [key]
        writing.headers = self.complete(writing_headers(keys), headers)

    async def _place(self) -> str | None:
        try:
            return await self.datasync.head()
        except (RuntimeError, SnorkyError):
            return None  # what is wrong, authorising tells

    async def _is_told_all(self) -> bool:
        if await self.datasync.turn.passed() and not self.datasync.lost:
            return True
        snorky_log.error("A list is answered without token: changes are not published yet")
        return False

    async def _publish(self, changes: list[Change], key: str, in_turn: bool) -> bool:
        try:
            await self.datasync.publish_in_turn(changes, key, in_turn)
        except (RuntimeError, SnorkyError) as error:
            snorky_log.error("%d deltas not published: %s", len(changes), error)
            return False
        return True
