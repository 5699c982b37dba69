"""A page, as the manual says pages behave: it opens tokens, applies changes, and comes back.

What it shows after every step is written down, with the position that it believes in; the judge
compares that with history when the run is over.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.convergence.lists import Fetch, Forbidden, ListView, Opened

MOST_IN_A_CALL = 32


Wanted = Sequence[tuple[ListView, Opened]]


class Page:
    """Some lists on one connection."""

    def __init__(
        self,
        url: str,
        lists: list[ListView],
        fetch: Fetch,
        told: Callable[[Any], None],
        chance: random.Random,
    ) -> None:
        """``told`` is called with every frame of changes, for the judge."""
        self.url = url
        self.lists = lists
        self.fetch = fetch
        self.told = told
        self.chance = chance
        self.connection: ClientConnection | None = None
        self.position: str | None = None
        self.one_since_for_all = False
        self.stalled = asyncio.Event()
        self.stalled.set()
        self._wanted: dict[int, Wanted] = {}
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._opening = asyncio.Lock()
        self._closing = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        while not self._closing:
            try:
                async with connect(
                    self.url, max_queue=2, ping_interval=None, proxy=None, open_timeout=5
                ) as connection:
                    self.connection = connection
                    self._start(self._bring_up())
                    while True:
                        await self.stalled.wait()
                        self._heard(json.loads(await connection.recv())["message"])
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                self._dropped()
                await asyncio.sleep(self.chance.uniform(0.03, 0.3))

    async def stop(self) -> None:
        self._closing = True
        tasks = [*self._tasks, *[each.fetching for each in self.lists if each.fetching]]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.connection is not None:
            await self.connection.close()

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.transport.abort()

    # The connection

    def _dropped(self) -> None:
        self.connection = None
        for future in self._calls.values():
            if not future.done():
                future.set_exception(ConnectionError())
                future.exception()  # also where nobody waits any more
        self._calls.clear()
        self._wanted.clear()
        for each in self.lists:
            opened = each.current
            if each.status != "closed" and (opened is None or each.next or each.fetching):
                each.wants_fetch = True  # what was not changed over to is begun anew
            each.next = None
            if opened is None:
                continue
            if opened.id is not None and not each.refetches:
                opened.since = self.position
            opened.id = opened.item = None
            opened.live = False
        self.position = None

    async def _call(self, command: str, wanted: Wanted = (), **params: Any) -> Any:
        connection = self.connection
        if connection is None:
            raise ConnectionError
        number = next(self._numbers)
        future = self._calls[number] = asyncio.get_running_loop().create_future()
        self._wanted[number] = wanted
        message = {"command": command, "params": params, "callId": number}
        try:
            await connection.send(json.dumps({"service": "datasync", "message": message}))
        except ConnectionClosed as error:
            raise ConnectionError from error
        return await future

    async def _bring_up(self) -> None:
        """After a (re)connection: what is shown resumes, what is not there yet is fetched."""
        shown = [(each, each.current) for each in self.lists if each.current]
        await self._open([(each, opened) for each, opened in shown if opened is not None])
        for each in self.lists:
            self.look_after(each)

    async def _open(self, wanted: Wanted) -> bool:
        """Whether all was answered."""
        most = MOST_IN_A_CALL if not self.one_since_for_all else 8
        for start in range(0, len(wanted), most):
            some = wanted[start : start + most]
            subscriptions = []
            for _, opened in some:
                subscription: dict[str, Any] = {"token": opened.token}
                if opened.since is not None:
                    since = opened.since
                    if self.one_since_for_all and self.position is not None:
                        since = self.position
                    subscription |= {"since": since, "live": opened.was_live}
                subscriptions.append(subscription)
            try:
                await self._call("openSubscriptions", some, subscriptions=subscriptions)
            except ConnectionError:
                return False
        return True

    # What is heard

    def _heard(self, message: Any) -> None:
        kind = message["type"]
        if kind == "response":
            future = self._calls.pop(message["callId"], None)
            wanted = self._wanted.pop(message["callId"], ())
            if wanted:
                self._opened(wanted, message["data"])
            if future is not None and not future.done():
                future.set_result(message["data"])
            return
        assert kind != "error", message
        if "position" in message:
            self.position = message["position"]
        getattr(self, f"_{kind}")(message)

    def _opened(self, wanted: Wanted, answers: list[Any]) -> None:
        """In the same turn as it is heard: the next frame speaks of what was opened."""
        for (each, opened), answer in zip(wanted, answers, strict=True):
            if not answer["recovered"]:
                self._refused(each, opened, answer["reason"])
                continue
            self.position = answer["position"]
            if opened not in (each.current, each.next):
                self._start(self._close(answer["subscription"]))
                continue
            opened.id, (opened.item,) = answer["subscription"], answer["items"]
            opened.token = answer["token"]
            opened.live = answer["live"]
            opened.apply(answer["changes"])
            if opened.live and not opened.was_live:
                self._becomes_live(each, opened)
            elif opened is each.current and opened.was_live:
                each.status = "live" if opened.live else "catching-up"
                if not each.refetches:
                    each.show("resumed", self.position)
            if answer.get("stale") or "refresh" in answer:
                self.fetch_again(each)

    def _refused(self, each: ListView, opened: Opened, reason: str) -> None:
        if opened is each.current:
            each.current = None  # its rows stay until the next ones are there
        elif opened is each.next:
            each.next = None
        self.fetch_again(each)

    def _becomes_live(self, each: ListView, opened: Opened) -> None:
        opened.let_go()
        opened.live = opened.was_live = True
        if opened is each.next:
            before = each.current
            each.current, each.next = opened, None
            if before is not None and before.id is not None:
                self._start(self._close(before.id))
        each.status = "live"
        if not each.refetches:
            each.show("live", self.position)

    async def _close(self, subscription: int) -> None:
        try:
            await self._call("closeSubscriptions", subscriptions=[subscription])
        except ConnectionError:
            pass

    def _by_id(self, subscription: int) -> tuple[ListView, Opened] | None:
        for each in self.lists:
            for opened in (each.current, each.next):
                if opened is not None and opened.id == subscription:
                    return each, opened
        return None

    def _changes(self, message: Any) -> None:
        self.told(message)
        for each in self.lists:
            for opened in (each.current, each.next):
                if opened is not None and opened.id is not None and not each.refetches:
                    opened.apply(message["changes"])
                    if opened is each.current and opened.was_live:
                        each.show("changes", message["position"])

    def _live(self, message: Any) -> None:
        for subscription in message["subscriptions"]:
            found = self._by_id(subscription)
            if found is not None:
                self._becomes_live(*found)

    def _late(self, message: Any) -> None:
        for subscription in message["subscriptions"]:
            found = self._by_id(subscription)
            if found is not None:
                found[1].live = False
                found[0].status = "catching-up"

    def _stale(self, message: Any) -> None:
        self._refresh(message)

    def _refresh(self, message: Any) -> None:
        for subscription in message["subscriptions"]:
            found = self._by_id(subscription)
            if found is not None:
                self.fetch_again(found[0])

    def _mark(self, message: Any) -> None:
        for subscription, token in message.get("tokens", {}).items():
            found = self._by_id(int(subscription))
            if found is not None:
                found[1].token = token

    def _resync(self, message: Any) -> None:
        for subscription in message["subscriptions"]:
            found = self._by_id(subscription)
            if found is not None:
                self._refused(*found, message["reason"])

    # Fetching

    def fetch_again(self, each: ListView) -> None:
        each.wants_fetch = True
        self.look_after(each)

    def look_after(self, each: ListView) -> None:
        if self._closing or self.connection is None:
            return
        if each.wants_fetch and each.fetching is None:
            each.fetching = asyncio.get_running_loop().create_task(self._fetch(each))
            each.fetching.add_done_callback(lambda _: self._fetched(each))

    def _fetched(self, each: ListView) -> None:
        each.fetching = None
        self.look_after(each)

    async def _fetch(self, each: ListView) -> None:
        each.wants_fetch = False
        began_at = self.position
        try:
            fetched = await self.fetch(each)
        except Forbidden:
            for opened in (each.current, each.next):
                if opened is not None and opened.id is not None:
                    self._start(self._close(opened.id))
            each.empty()
            return
        if fetched.token is None:
            await asyncio.sleep(0.05)
            each.wants_fetch = True
            return
        if each.refetches and each.current is not None and each.current.id is not None:
            each.current.rows, each.current.since = fetched.rows, began_at
            each.current.transaction = fetched.transaction
            each.show("fetched", None)
            return
        opened = Opened(fetched.token, fetched.rows, fetched.transaction)
        if each.current is None:
            first = each.rows is None or each.status == "closed"
            each.current = opened
            if first or each.refetches:
                each.status = "catching-up"
                each.show("snapshot", None)
            else:
                # Ended, but shown: those rows stay until these are live.
                each.current, each.next = None, opened
        else:
            each.next = opened
        async with self._opening:
            if opened is each.next and not await self._open([(each, opened)]):
                each.wants_fetch = True
            elif opened is each.current:
                await self._open([(each, opened)])

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
