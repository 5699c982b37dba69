"""Folding and catching up, compared with a model that spells the rules out once more."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from snorky.services.base import RPCError
from tests.services.datasync.wire import Site, WirePage, delete, having, insert, task, update

QUERIES: list[Any] = [["and"], having("color", "red"), having("color", "blue"), ["<", "n", 2]]
COLORS = st.sampled_from(["red", "blue"])
KEYS = st.integers(0, 3)
ROWS = st.fixed_dictionaries({"color": COLORS, "n": st.integers(0, 3)})


def shows(query: Any, row: Any) -> bool:
    match query:
        case ["and"]:
            return True
        case ["==", field, value]:
            return bool(row[field] == value)
        case ["<", field, value]:
            return bool(row[field] < value)
    raise AssertionError(query)


class Table:
    """Rows by key; writing answers the deltas, and keeps every table there ever was."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}
        self.states: list[dict[int, Any]] = [{}]

    def write(self, key: int, row: Any) -> list[Any]:
        old = self.rows.get(key)
        new = None if row is None else task(key, **row)
        if new is None:
            self.rows.pop(key, None)
            return [] if old is None else [delete(old)]
        self.rows[key] = new
        return [insert(new)] if old is None else [update(new, old)]

    def commit(self) -> None:
        self.states.append(dict(self.rows))


def view(rows: dict[int, Any], query: Any) -> dict[int, Any]:
    return {key: row for key, row in rows.items() if shows(query, row)}


def apply(shown: dict[int, Any], item: int, changes: list[Any]) -> None:
    """What a list does with a change."""
    for change in changes:
        assert change["in"] or change["out"]
        assert (change["data"] is None) is (not change["in"])
        if item in change["in"]:
            shown[change["key"]] = change["data"]
        elif item in change["out"]:
            shown.pop(change["key"], None)


WRITES = st.lists(st.tuples(KEYS, st.none() | ROWS), min_size=1, max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), WRITES),
        st.tuples(st.just("write"), WRITES),
        st.tuples(st.just("authorize"), st.integers(0, 3)),
        st.tuples(st.just("query"), st.integers(0, 9)),
        st.tuples(st.just("open"), st.integers(0, 9)),
        st.tuples(st.just("drop"), st.integers(0, 9)),
        st.tuples(st.just("look"), st.none()),
    ),
    max_size=40,
)


class View:
    """A list on a page: authorised, queried, opened, dropped, opened again."""

    def __init__(self, site: Site, query: Any) -> None:
        self.site = site
        self.query = query
        self.token = site.token(query)
        self.shown: dict[int, Any] | None = None
        self.page: WirePage | None = None
        self.since: str | None = None
        self.item = 0

    def ask(self, table: Table) -> None:
        if self.shown is None:
            self.shown = view(table.rows, self.query)

    def open(self) -> None:
        if self.shown is None or self.page is not None:
            return
        page = self.site.page()
        more = {} if self.since is None else {"since": self.since, "live": True}
        answer = page.open_one(self.token, **more)
        assert answer["recovered"], answer
        (self.item,) = answer["items"]
        self.token, self.since, self.page = answer["token"], answer["position"], page
        apply(self.shown, self.item, answer["changes"])

    def listen(self) -> None:
        assert self.shown is not None
        assert self.page is not None
        for frame in self.page.frames:
            assert frame["type"] == "changes"
            self.since = frame["position"]
            apply(self.shown, self.item, frame["changes"])

    def drop(self) -> None:
        if self.page is not None:
            self.page.leave()
            self.page = None


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, item_ttl=st.sampled_from([0, 60]))
def test_a_view_equals_the_query_after_every_entry(steps: Any, item_ttl: float) -> None:
    site, table = Site(item_ttl=item_ttl), Table()
    views: list[View] = []
    for action, argument in steps:
        if action == "write":
            deltas = [each for key, row in argument for each in table.write(key, row)]
            site.publish(*deltas)
            table.commit()
        elif action == "authorize":
            views.append(View(site, QUERIES[argument]))
        elif action == "look":
            site.look()
        elif argument < len(views):
            one = views[argument]
            if action == "query":
                one.ask(table)
            elif action == "open":
                one.open()
            else:
                one.drop()
        for each in views:
            if each.page is not None:
                each.listen()
                assert each.shown == view(table.rows, each.query)
    for each in views:
        each.ask(table)
        each.open()
        assert each.shown == view(table.rows, each.query)


@settings(max_examples=200, deadline=None)
@given(writes=st.lists(WRITES, min_size=1, max_size=4), several=st.booleans())
def test_an_entry_is_told_as_the_difference_of_two_tables(writes: Any, several: bool) -> None:
    """``several``: the entry holds a transaction for each list of writes."""
    import asyncio

    site, table = Site(relay=True), Table()
    page = site.page()
    answers = page.open(*[site.token(query) for query in QUERIES])
    items = {answer["items"][0]: query for answer, query in zip(answers, QUERIES, strict=True)}
    asyncio.run(_publish(site, [insert(task(key, color="red", n=1)) for key in (0, 1)], several))
    table.rows = {key: task(key, color="red", n=1) for key in (0, 1)}
    page.frames  # noqa: B018

    before = dict(table.rows)
    between: list[dict[int, Any]] = []
    deltas = []
    for transaction in writes:
        for key, row in transaction:
            deltas += table.write(key, row)
            between.append(dict(table.rows))
    asyncio.run(_publish(site, deltas, several))

    told = {change["key"]: change for change in page.changes}
    for key in range(4):
        change = told.pop(key, {"in": [], "out": [], "data": None})
        new = table.rows.get(key)
        olds = [before.get(key), *([rows.get(key) for rows in between[:-1]] if several else [])]
        expected_in = {item for item, query in items.items() if new and shows(query, new)}
        expected_out = {
            item for item, query in items.items() if any(old and shows(query, old) for old in olds)
        } - expected_in
        assert set(change["out"]) == expected_out
        if change["in"]:
            assert (set(change["in"]), change["data"]) == (expected_in, new)
        else:
            assert not expected_in or all(old == new for old in olds)
            assert change["data"] is None
    assert told == {}


async def _publish(site: Site, deltas: list[Any], several: bool) -> None:
    if not several:
        await site.async_call("publishDeltas", deltas=deltas)
        return
    log = site.service.changes.log
    if not hasattr(site, "fence"):
        site.fence = (await site.async_call("takeLease", source="main"))["fence"]  # type: ignore[attr-defined]
    entry = {"key": f"key {log.head.seq}", "deltas": deltas}
    try:
        await site.async_call(
            "appendEntries",
            source="main",
            fence=site.fence,  # type: ignore[attr-defined]
            entries=[entry],
        )
    except RPCError as error:
        raise AssertionError from error
