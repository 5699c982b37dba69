"""Filters made to slow others down, or to fill the memory, do neither.

Time is told by how many filters a row has to check, which no busy machine changes.
"""

from __future__ import annotations

import sys
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snorky.filters import BadQuery, FilterIndex, Handle, parse
from snorky.filters.buckets import BUCKET_SIZE, PARTED_AT_ONCE
from snorky.filters.filing import MAX_PLACES, MAX_WORK
from snorky.filters.grammar import MAX_COMPARISONS, MAX_DEPTH
from tests.filters.language import a_row

FEW = 4 * BUCKET_SIZE
"""A row may check as many filters that do not match it, whatever others filed."""

ROW = {"tenant": 1, "state": "open", "votes": 5, "title": "Buy milk", "due": 7, "done": False}


def checked(index: FilterIndex[Any], row: Any = ROW) -> int:
    explanation = index.explain(row)
    return explanation.candidates - explanation.hits


def of_tenant(tenant: int, *more: Any) -> Any:
    """What the application makes of a filter that a client sends."""
    return ["and", ["==", "tenant", tenant], *more]


HOSTILE = {
    "the same state": lambda n: [["==", "state", "open"], ["!=", "x", n]],
    "bounds that all rows satisfy": lambda n: [[">", "votes", -n]],
    "two bounds, one never": lambda n: [[">", "votes", -n], [">", "due", 1000 + n]],
    "intervals of every width": lambda n: [[">", "votes", -(1.5**n)], ["<", "votes", 1.5**n]],
    "intervals at one place": lambda n: [[">", "votes", 4.9 - n], ["<", "votes", 5 + 1e-9 * n]],
    "prefixes of every length": lambda n: [["startswith", "title", "Buy milk" + "x" * n]],
    "the same prefix": lambda n: [["startswith", "title", "B"], ["!=", "x", n]],
    "negations alone": lambda n: [["not", ["==", "x", n]], ["isnull", "y", False]],
    "names without end": lambda n: [["==", f"x{n}.{n}" + ".a" * 20, 1], ["==", f"z{n}", n]],
    "long lists": lambda n: [["in", "votes", [5, *range(100 + n, 180 + n)]]],
    "shapes without end": lambda n: [
        ["or", ["==", "state", "open"], *(["<", f"x{i}", i] for i in range(n % 90)), ["==", "y", n]]
    ],
    "true, false, null": lambda n: [["==", "done", False], ["==", "z", None], ["!=", "x", n]],
}  # fmt: skip


@pytest.mark.parametrize("attack", HOSTILE)
def test_what_one_tenant_files_does_not_slow_the_rows_of_another(attack: str) -> None:
    index: FilterIndex[Any] = FilterIndex(max_unindexed=200)
    for number in range(200):
        index.add(of_tenant(number % 50, ["==", "votes", number % 20]), "honest")
    before = checked(index)
    refused = 0
    for number in range(600):
        try:
            index.add(of_tenant(666, *HOSTILE[attack](number)), "attacker")
        except BadQuery:
            refused += 1
    assert checked(index) <= before + FEW
    assert index.match(ROW).count("attacker") == 0
    # And nobody else is refused because of it.
    index.add(of_tenant(1, ["!=", "author", 3]), "honest")
    assert refused < 600


@pytest.mark.parametrize("attack", sorted(set(HOSTILE) - {"bounds that all rows satisfy"}))
def test_without_a_predicate_of_the_application_the_harm_has_a_bound(attack: str) -> None:
    """What nothing parts is refused past the limit, for each value that they have in common."""
    limit = 100
    index: FilterIndex[Any] = FilterIndex(max_unindexed=limit)
    for number in range(1_000):
        try:
            index.add(["and", *HOSTILE[attack](number)], "attacker")
        except BadQuery:
            pass
    assert checked(index) <= 3 * limit + FEW


def test_a_bucket_that_overflows_is_parted_by_what_else_its_filters_ask() -> None:
    index: FilterIndex[int] = FilterIndex()
    for number in range(5_000):
        more: list[Any] = [
            ["==", "title", f"t{number}"],
            ["and", [">", "votes", number * 10], ["<", "votes", number * 10 + 9]],
            ["startswith", "title", f"t{number}-"],
            ["in", "title", [f"a{number}", f"b{number}"]],
            ["or", ["==", "title", f"c{number}"], ["==", "due", -number - 1]],
        ]
        index.add(of_tenant(1, more[number % 5]), number)
    assert checked(index) <= FEW
    assert index.match(ROW | {"title": "t55-x", "votes": -1}) == []
    assert sorted(index.match(ROW | {"title": "b3", "due": -5})) == [3, 4]


def test_no_filter_pays_for_the_bucket_that_it_makes_overflow() -> None:
    index: FilterIndex[int] = FilterIndex()
    handles = []
    for number in range(3 * BUCKET_SIZE):
        before = sum(map(places, handles))
        handles.append(index.add(of_tenant(1, ["startswith", "title", f"t{number}-"]), number))
        assert sum(map(places, handles)) - before <= 2 + PARTED_AT_ONCE
    # And when some more have come all are parted.
    assert {places(handle) for handle in handles} == {2}
    assert checked(index) == 0
    for handle in handles[1:]:
        index.remove(handle)
    assert index.match(ROW | {"title": "t0-a"}) == [0]


def test_the_work_of_one_filter_is_bounded() -> None:
    index: FilterIndex[int] = FilterIndex()
    values = list(range(490))
    queries = [
        *(["and", ["in", "a", values], ["in", "b", values], ["!=", "n", n]] for n in range(40)),
        *(
            ["and", ["in", "a", values], *(["<", f"b{i}", n] for i in range(400))]
            for n in range(20)
        ),
    ]
    handles = [index.add(query, 0) for query in queries]
    # Each predicate may lead to one rest.
    most = max(places(handle) for handle in handles)
    assert most <= 2 * (MAX_PLACES + MAX_WORK)
    for handle in handles:
        index.remove(handle)
    assert not index._root.columns


def test_what_was_parted_and_joined_again_is_forgotten() -> None:
    index: FilterIndex[int] = FilterIndex()
    handles = [
        index.add(["and", [">", "votes", n % 500], [">", "due", n], ["!=", "x", n]], n)
        for n in range(1_000)
    ]
    assert max(places(handle) for handle in handles) <= 5
    survivor = handles.pop()
    for handle in handles:
        index.remove(handle)
    assert places(survivor) == 1
    assert index.match({"votes": 1_000, "due": 1_000, "x": 0}) == [999]


def test_lists_that_share_values_are_all_welcome() -> None:
    """Who finds them there wants them: nothing is looked at in vain."""
    index: FilterIndex[int] = FilterIndex(max_unindexed=10)
    for number in range(100):
        index.add(["in", "id", [7, 1000 + number]], number)
        index.add(["or", ["==", "id", 7], ["==", "owner", number]], number)
    assert len(index.match({"id": 7})) == 200
    assert index.explain({"id": 7}).candidates == 200


def test_memory_of_a_filter_stays_small_for_fields_and_values_of_any_size() -> None:
    with pytest.raises(BadQuery, match="at most 1000 characters"):
        parse(["==", "x" * 1_001, 1])
    with pytest.raises(BadQuery, match="at most 1000 characters and 32 names"):
        parse(["==", ".".join("x" * 33), 1])
    with pytest.raises(BadQuery, match="more than 14000 bits"):
        parse(["==", "x", 1 << 14_000])
    with pytest.raises(BadQuery, match=f"more than {MAX_COMPARISONS} comparisons"):
        parse(["in", "x", list(range(MAX_COMPARISONS + 1))])


def places(handle: Handle[Any]) -> int:
    return len(list(handle._entry.each_place()))


def deep(depth: int, name: str) -> Any:
    query: Any = ["==", "a", 1]
    for level in range(depth - 1):
        query = [name, query, ["==", f"b{level}", level]] if name != "not" else [name, query]
    return query


@pytest.mark.parametrize("name", ["and", "or", "not"])
def test_the_deepest_and_the_widest_filter_are_filed_and_found(name: str) -> None:
    index: FilterIndex[str] = FilterIndex()
    for number in range(5):
        index.add(["or", deep(MAX_DEPTH - 1, name), ["==", "n", number]], "deep")
    wide = index.add(["or", *(["==", "w", n] for n in range(MAX_COMPARISONS))], "wide")
    assert index.match({"w": 999}).count("wide") == 1
    row = {"a": 1} | {f"b{level}": level for level in range(MAX_DEPTH)}
    assert index.match(row).count("deep") == (0 if name == "not" and MAX_DEPTH % 2 else 5)
    index.remove(wide)
    assert index.match({"w": 999}).count("wide") == 0


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["==", "<", "in", "and", "or", "not", "isnull", "startswith", "due", "price"])
    | st.builds(lambda: 10**5000)
    | st.binary(max_size=2)
)
ANYTHING = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(st.sampled_from(["and", "or", "not"]), inner, inner).map(list)
        | st.tuples(st.sampled_from(["==", "<", "in", "startswith"]), st.text(max_size=3), inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(queries=st.lists(ANYTHING, max_size=6), seed=st.integers(0, 1000))
def test_whatever_comes_is_filed_or_refused_and_leaves_nothing(queries: Any, seed: int) -> None:
    random = Random(seed)
    index: FilterIndex[int] = FilterIndex(max_unindexed=2)
    handles, texts = [], []
    for number, query in enumerate(queries):
        try:
            handles.append(index.add(query, number))
        except BadQuery as refused:
            texts.append(str(refused))
    assert all(0 < len(text) < 500 for text in texts)
    for _ in range(3):
        index.match(a_row(random))
    for handle in handles:
        index.remove(handle)
    assert (index.filters, len(index), index.fields, index.unindexed) == (0, 0, [], 0)
    assert sys.getrecursionlimit() > MAX_DEPTH
