"""Windows of live lists, in the built client in Node: what they showed, and whether it was right.

A window shows the first rows of its query, in its order. Each time it shows something there must be
a moment of the database, none before that of the last time, whose first rows these are: so there is
no row that was not there (a ghost), and none between others is missing (a hole). It may show fewer
than it should while it asks for more; a row that stays as it was, among the first ones, leaves the
screen only where another answer of the web application came in between.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any

from tests.convergence.history import matches
from tests.convergence.lists import Fetch, ListView
from tests.patience import patient

PROGRAM = Path(__file__).with_suffix(".mjs")
ORDERS = (["-n"], ["team", "-n"], ["-id"], ["color", "id"])
MOST_ROWS = 30
"""How far windows are opened."""

State = Sequence[Any]
"""All rows of a query at some moment, in order."""


@dataclass
class Shown:
    """One rendering: ``size`` rows were wanted, after so many answers of the web application."""

    items: list[Any]
    status: str
    has_more: bool
    size: int
    answers: int
    why: str = "renderings"


class Window(ListView):
    """A list of which the first rows are shown."""

    def __init__(self, model: str, query: Any, order: Sequence[str], window: int) -> None:
        super().__init__(model, query, "ann")
        self.order = order
        self.window = self.size = window
        self.shown: list[Shown] = []

    def __str__(self) -> str:
        return f"window of {self.size}, {self.model} {self.query} by {self.order} ({self.status})"

    def sorted(self, rows: dict[Any, Any]) -> list[Any]:
        """All rows of the query, of tables as the history has them."""
        found = [row for (model, _), row in rows.items() if model == self.model and self.has(row)]
        return self.in_order(found)

    def has(self, row: Any) -> bool:
        return matches(self.query, row)

    def in_order(self, rows: list[Any]) -> list[Any]:
        for field in reversed([*self.order, "id"]):
            rows.sort(key=itemgetter(field.lstrip("-")), reverse=field[0] == "-")
        return rows

    def is_right(self, tables: dict[Any, Any]) -> bool:
        """Whether it shows what is there, and knows whether there is more."""
        right = self.sorted(tables)
        last = self.shown[-1] if self.shown else None
        return (
            last is not None
            and last.status == "live"
            and last.items == right[: self.size]
            and (last.has_more or len(right) <= self.size)
        )

    def difference(self, tables: dict[Any, Any]) -> str:
        """What it shows in the end, and should."""
        return f"{self}: {self.shown[-1:]} and not {self.sorted(tables)[: self.size]}"


def problem(each: Window, states: Sequence[State], believed: Callable[[Shown], bool]) -> str | None:
    """The first thing that a window showed and should not have.

    ``states`` are all rows of its query, moment after moment. Where a rendering is not ``believed``
    nobody knows of which moment it is: its rows must be those of its query, in order.
    """
    moment = 0
    before: Shown | None = None
    for shown in each.shown:
        keys = [row["id"] for row in shown.items]
        if len(set(keys)) < len(keys) or len(keys) > shown.size:
            return f"{each} showed {len(keys)} rows with the keys {keys}"
        if not all(map(each.has, shown.items)) or each.in_order([*shown.items]) != shown.items:
            return f"{each} showed rows of others, or in another order: {shown.items}"
        if not believed(shown):
            before = None
            continue
        found = next(
            (at for at in range(moment, len(states)) if _is_possible(shown, before, states[at])),
            None,
        )
        if found is None:
            return f"{each} showed what never was, or was before {moment}: {shown} after {before}"
        moment, before = found, shown
    return None


def _is_possible(shown: Shown, before: Shown | None, state: State) -> bool:
    first = state[: shown.size]
    if shown.items != first[: len(shown.items)]:
        return False
    if before is None or len(shown.items) == len(first) or shown.answers > before.answers:
        return True
    # It has run out of rows: of those that it showed only such as left are gone.
    missing = first[len(shown.items) :]
    return not any(row in missing for row in before.items)


class WindowPage:
    """A page of a few windows, in a process of its own; as `tests.convergence.client.Page`."""

    def __init__(self, url: str, windows: list[Window], fetch: Fetch, chance: Random) -> None:
        self.url = url
        self.lists: list[Any] = windows
        self.position = None
        self.one_since_for_all = False
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._fetch = fetch
        self._chance = chance
        self._process: asyncio.subprocess.Process | None = None
        self._ended = asyncio.Event()
        self._fetching: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until it is stopped. Raises AssertionError where the page failed."""
        try:
            await self._run()
        finally:
            self._ended.set()

    async def _run(self) -> None:
        node = shutil.which("node")
        assert node is not None, "windows are shown by the built client, in Node"
        lists = [{"order": each.order, "window": each.window} for each in self.lists]
        self._process = process = await asyncio.create_subprocess_exec(
            *(node, str(PROGRAM), self.url, json.dumps(lists)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            self._heard(json.loads(line))
        assert process.stderr is not None
        errors = (await process.stderr.read()).decode()
        assert (await process.wait(), errors) == (0, ""), errors

    async def stop(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            async with asyncio.timeout(patient(10)):
                await self._ended.wait()
        for task in self._fetching:
            task.cancel()
        await asyncio.gather(*self._fetching, return_exceptions=True)

    def tell(self, action: str, **more: Any) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(ConnectionError):
                self._process.stdin.write(json.dumps({"action": action, **more}).encode() + b"\n")

    def drop(self) -> None:
        self.tell("drop")

    def more(self) -> None:
        number = self._chance.randrange(len(self.lists))
        each = self.lists[number]
        if each.size < MOST_ROWS and self._process is not None:
            each.size += each.window
            self.counts["more"] += 1
            self.tell("more", list=number)

    def refetch(self) -> None:
        self.tell("refetch", list=self._chance.randrange(len(self.lists)))

    def _heard(self, said: dict[str, Any]) -> None:
        if "question" in said:
            task = asyncio.create_task(self._answer(**said))
            self._fetching.add(task)
            task.add_done_callback(self._answered)
        elif "widened" in said:
            self.counts["widened"] += 1
        else:
            each = self.lists[said["list"]]
            each.status = said["status"]
            shown = (said[name] for name in ("items", "status", "hasMore", "size", "answers"))
            each.shown.append(Shown(*shown))

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._fetching.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(f"a question was not answered: {error!r}")

    async def _answer(self, question: int, list: int, limit: int) -> None:  # noqa: A002
        each = self.lists[list]
        fetched = await self._fetch(each)
        rows = each.in_order([*fetched.rows.values()])[:limit]
        self.counts["questions"] += 1
        self.tell("answer", question=question, rows=rows, token=fetched.token)


def some_windows(chance: Random, queries: Sequence[Any]) -> list[Window]:
    return [
        Window(
            chance.choice(["Task", "Note"]),
            chance.choice(queries),
            chance.choice(ORDERS),
            chance.randint(2, 6),
        )
        for _ in range(4)
    ]


def problems(
    windows: list[Window],
    tables: Sequence[dict[Any, Any]],
    believed: Callable[[Shown], bool] = lambda shown: True,
) -> Iterator[str]:
    """The first thing that is wrong with each window. ``tables`` are those of each moment."""
    for each in windows:
        found = problem(each, [each.sorted(rows) for rows in tables], believed)
        if found is not None:
            yield found
