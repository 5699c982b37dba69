"""An index of filters: what it finds, what it shares, what it refuses, what it tells."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from snorky.filters import BadQuery, FilterIndex, filter_matches
from snorky.filters import shapes as shapes_module
from snorky.filters.shapes import COMPILED_FROM, MAX_COMPILED_LEAVES, Shapes


@pytest.fixture
def index() -> FilterIndex[str]:
    return FilterIndex({"price": Decimal, "due": datetime})


def test_a_row_finds_the_payloads_of_the_filters_that_match(index):
    index.add(["==", "team", 3], "team 3")
    index.add(["and", [">=", "price", "9.50"], ["<", "price", "100.00"]], "cheap")
    index.add(["startswith", "title", "Buy"], "shopping")
    index.add(["or", ["==", "team", 4], ["==", "title", "Buy milk"]], "milk")
    row = {"team": 3, "price": "50.0", "title": "Buy milk"}
    assert sorted(index.match(row)) == ["cheap", "milk", "shopping", "team 3"]
    assert index.match({"team": 4}) == ["milk"]
    assert index.match({"team": True}) == []
    assert index.match("no row") == []


def test_equal_filters_are_one_with_many_payloads(index):
    first = index.add(["and", ["==", "a", 1], ["==", "b", 2.0]], "first")
    second = index.add(["and", ["==", "b", 2], ["==", "a", 1], ["==", "a", 1]], "second")
    third = index.add(["not", ["or", ["not", ["==", "a", 1]], ["not", ["==", "b", 2]]]], "third")
    assert (len(index), index.filters) == (3, 1)
    assert index.match({"a": 1, "b": 2}) == ["first", "second", "third"]
    assert index.get(["and", ["==", "b", 2], ["==", "a", 1]]) is first
    index.remove(second)
    index.remove(first)
    assert index.match({"a": 1, "b": 2}) == ["third"]
    index.remove(third)
    assert (len(index), index.filters, index.match({"a": 1, "b": 2})) == (0, 0, [])
    assert index.get(["==", "a", 1]) is None


def test_what_was_removed_cannot_be_removed_again(index):
    handle = index.add(["==", "a", 1], "one")
    other = index.add(["==", "a", 1], "other")
    index.remove(handle)
    with pytest.raises(KeyError):
        index.remove(handle)
    index.remove(other)
    with pytest.raises(KeyError):
        index.remove(other)
    assert len(index) == 0


def test_an_update_tells_who_matched_before_and_who_matches_now(index):
    index.add(["==", "team", 3], "three")
    index.add(["==", "team", 4], "four")
    assert index.match_update({"team": 3}, {"team": 4}) == (["three"], ["four"])
    # What no filter asks for has changed: one match is enough for both.
    assert index.match_update({"team": 3, "x": 1}, {"team": 3, "x": 2}) == (["three"], ["three"])
    # A field that the old row does not tell counts as another.
    assert index.match_update({}, {"team": 3}) == ([], ["three"])


def test_one_filter_of_it_can_be_asked(index):
    handle = index.add(["<", "price", "9.50"], "cheap")
    index.add(["==", "team", 3], "three")
    assert index.matches(handle, {"price": "9.4", "team": 4})
    assert not index.matches(handle, {"price": "10.0", "team": 3})


def test_a_filter_that_is_always_or_never_true_is_filed_too(index):
    index.add(["and"], "always")
    index.add(["and", ["==", "a", 1], ["==", "a", 2]], "never")
    assert index.match({"a": 1}) == ["always"]
    assert index.match({}) == ["always"]


def test_the_limit_of_what_nothing_parts_is_per_index_and_counts_different_filters():
    index: FilterIndex[int] = FilterIndex(max_unindexed=3)
    handles = [index.add(["!=", "author", author], author) for author in (1, 2, 3, 3)]
    assert index.unindexed == 3
    with pytest.raises(BadQuery, match="at most 3 different ones") as refusal:
        index.add(["!=", "author", 4], 4)
    assert "!=, not and isnull" in str(refusal.value)
    # What was refused left nothing behind, and what an index can serve has no limit.
    assert (len(index), index.filters) == (4, 3)
    for team in range(100):
        index.add(["and", ["==", "team", team], ["!=", "author", 4]], team)
    index.remove(handles[0])
    index.add(["!=", "author", 4], 4)
    assert index.match({"author": 4, "team": -1}) == [2, 3, 3]


def test_it_explains_what_a_row_costs(index):
    for team in range(100):
        index.add(["and", ["==", "team", team], ["<", "votes", 5]], "team")
    index.add(["isnull", "gone", True], "not gone")
    explanation = index.explain({"team": 7, "votes": 9, "other": 1})
    assert explanation.filters == 101
    assert explanation.candidates == 2
    assert explanation.hits == 1
    assert explanation.unindexed == 1
    assert explanation.facts == {"team": 7, "votes": 9}
    assert index.fields == ["gone", "team", "votes"]


def test_of_an_update_the_row_before_is_looked_up_where_filters_ask_for_what_changed(index):
    for votes in range(10):
        index.add(["==", "votes", votes], votes)
    before, after = {"votes": 3, "title": "a"}, {"votes": 4, "title": "b"}
    assert index.explain(after, before).candidates == 2
    assert index.explain(after, before).hits == 2
    assert index.explain(before | {"title": "c"}, before).candidates == 1


def test_the_answer_to_an_unchanged_row_is_not_that_of_other_filters(index):
    row = {"team": 1}
    handles = [index.add(["==", "team", 1], number) for number in range(3)]
    assert index.match(row) == [0, 1, 2]
    index.match(row).clear()
    assert index.match(row | {"title": "of no account"}) == [0, 1, 2]
    index.remove(handles[0])
    assert index.match(row) == [1, 2]
    index.add(["<", "team", 2], 3)
    assert sorted(index.match(row)) == [1, 2, 3]
    index.remove(handles[2])
    index.remove(handles[1])
    assert index.match(row) == [3]
    for handle in handles:
        with pytest.raises(KeyError):
            index.remove(handle)


def test_a_type_that_is_unknown_is_refused():
    with pytest.raises(TypeError, match=r"the type of field 'a' must be one of .*Decimal.*; got"):
        FilterIndex({"a": bytes})


# Shapes


def test_filters_of_one_shape_share_one_function_and_give_it_back():
    shapes = Shapes(limit=2)
    program = ("eq", 0)
    taken = [shapes.take(program) for _ in range(COMPILED_FROM)]
    assert len(set(map(id, taken))) == len(shapes) == 1
    assert taken[0].compiled
    for shape in taken:
        shapes.release(shape)
    assert len(shapes) == 0


def test_code_is_made_for_the_shapes_that_most_filters_have():
    shapes = Shapes(limit=2)
    rare, common, newcomer = ("lt", 0), ("eq", 0), ("gt", 0)
    for program, count in ((rare, 4), (common, 50), (newcomer, 8)):
        for _ in range(count):
            shapes.take(program)
    compiled = {program: shapes.take(program).compiled for program in (rare, common, newcomer)}
    assert compiled == {rare: False, common: True, newcomer: True}


def test_no_code_is_made_of_large_filters():
    index: FilterIndex[int] = FilterIndex()
    for number in range(10):
        leaves = [["<", f"f{leaf}", number] for leaf in range(MAX_COMPILED_LEAVES + 1)]
        index.add(["and", ["==", "a", number], *leaves], number)
    assert not index._shapes._compiled


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts of all functions that are compiled."""
    found: list[str] = []
    expression = shapes_module._expression

    def recording(program: Any) -> str:
        text = expression(program)
        found.append(text)
        return text

    monkeypatch.setattr(shapes_module, "_expression", recording)
    return found


def test_nothing_that_a_client_wrote_becomes_source_text(sources):
    hostile = "__import__('os')"
    index: FilterIndex[int] = FilterIndex()
    for number in range(5):
        index.add(
            [
                "and",
                ["==", hostile, f"{hostile}{number}"],
                ["in", f"a.{hostile}", [hostile, number]],
            ],
            number,
        )
    assert sources
    assert "import" not in "".join(sources)
    row = {hostile: f"{hostile}3", "a": {hostile: 3}}
    assert index.match(row) == [3]


def test_compiled_and_walked_functions_answer_alike():
    query = ["or", ["and", ["==", "a", 1], ["not", ["<", "b", 2]]], ["in", "c", [1, "x", None]]]
    rows = [{"a": 1}, {"a": 1, "b": 1}, {"c": None}, {"c": "x", "b": 0}, {"a": 2, "c": 2}, {}]
    index: FilterIndex[int] = FilterIndex()
    for number in range(COMPILED_FROM):
        index.add(["and", query, ["!=", "n", number]], number)
    [shape] = index._shapes._compiled
    assert shape.compiled
    for row in rows:
        assert bool(index.match(row | {"n": 9})) is filter_matches(row, query)
