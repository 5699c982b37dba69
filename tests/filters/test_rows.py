from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snorky.filters import BadQuery, compile_filter, filter_matches
from snorky.wire import decode

OPERATORS = "==, !=, <, <=, >, >=, in, and, or, not, isnull, startswith"

ROW: Any = {
    "color": "blue",
    "age": 20,
    "height": 1.0,
    "alive": True,
    "team": None,
    "tags": ["a", {"b": 1}],
    "flags": [True],
    "player": {"color": "red", "home": {"city": "Soria"}},
}


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        (["==", "color", "blue"], True),
        (["==", "color", "Blue"], False),
        (["==", "age", 20], True),
        (["==", "age", 20.0], True),
        (["==", "age", "20"], False),
        (["==", "height", 1], True),
        # A type is part of a value.
        (["==", "height", True], False),
        (["==", "alive", True], True),
        (["==", "alive", 1], False),
        (["==", "alive", False], False),
        # null is a value; a missing field has none.
        (["==", "team", None], True),
        (["==", "nothing", None], False),
        (["==", "team", False], False),
        (["==", "team", 0], False),
        # Deeply.
        (["==", "tags", ["a", {"b": 1}]], True),
        (["==", "tags", ["a", {"b": 1.0}]], True),
        (["==", "tags", ["a", {"b": True}]], False),
        (["==", "flags", [True]], True),
        (["==", "flags", [1]], False),
        (["==", "tags", ["a"]], False),
        (["==", "tags", {}], False),
        (["==", "player", {"home": {"city": "Soria"}, "color": "red"}], True),
        (["==", "player", {"home": {"city": "Soria"}}], False),
        # Paths.
        (["==", "player.color", "red"], True),
        (["==", "player.home.city", "Soria"], True),
        (["==", "player.home.street", None], False),
        (["==", "color.length", 4], False),
        (["==", "team.name", None], False),
        (["==", "tags.0", "a"], False),
        # Order.
        (["<", "age", 21], True),
        (["<", "age", 20], False),
        (["<=", "age", 20.0], True),
        ([">", "age", 19.5], True),
        ([">=", "age", 21], False),
        (["<", "color", "blues"], True),
        (["<", "color", "blue"], False),
        ([">", "color", "Zebra"], True),  # code points, not the alphabet
        (["<", "age", "21"], False),
        ([">", "age", "21"], False),
        (["<", "color", 5], False),
        (["<", "alive", 2], False),
        ([">=", "alive", True], False),
        (["<=", "team", None], False),
        (["<=", "tags", ["z"]], False),
        (["<", "nothing", 5], False),
        # Huge integers.
        (["<", "age", 10**400], True),
        ([">", "age", -(10**400)], True),
        # Logic.
        (["and", ["==", "color", "blue"], ["<", "age", 30]], True),
        (["and", ["==", "color", "blue"], ["<", "age", 10]], False),
        (["or", ["==", "color", "red"], ["<", "age", 30]], True),
        (["or", ["==", "color", "red"], ["<", "age", 10]], False),
        (["and"], True),
        (["or"], False),
        (["and", ["==", "color", "blue"]], True),
        (["not", ["==", "color", "red"]], True),
        (["not", ["and"]], False),
        # The negation of a comparison that cannot be made is true.
        (["not", ["<", "nothing", 5]], True),
        (["not", [">", "age", "5"]], True),
    ],
)
def test_filters_match(query: Any, matches: bool) -> None:
    assert filter_matches(ROW, query) is matches


def test_strings_are_ordered_by_code_point_beyond_the_basic_plane() -> None:
    # In UTF-16 the order of these two is the other way round.
    assert filter_matches({"s": "\uffff"}, ["<", "s", "\U0001f600"])


@pytest.mark.parametrize("row", [None, 5, "text", [], [["color", "blue"]]])
def test_in_a_row_that_is_no_object_every_field_is_missing(row: Any) -> None:
    assert not filter_matches(row, ["==", "color", "blue"])
    assert not filter_matches(row, ["==", "a.b", None])


def nested(depth: int) -> Any:
    query: Any = ["==", "a", 1]
    for _ in range(depth - 1):
        query = ["not", query]
    return query


def deep_list(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (None, 'a filter is an array like ["==", field, value]; got null'),
        (True, 'a filter is an array like ["==", field, value]; got true'),
        (5, 'a filter is an array like ["==", field, value]; got a number'),
        ("color", "a filter is an array like [\"==\", field, value]; got 'color'"),
        ({"==": 1}, 'a filter is an array like ["==", field, value]; got an object'),
        ([], "a filter begins with an operator; got an empty array"),
        (["="], f"unknown operator '='; expected one of {OPERATORS}"),
        (
            [["==", "a", 1]],
            f"unknown operator an array; expected one of {OPERATORS}",
        ),
        (["=="], "'==' takes a field and a value; got 0 arguments"),
        (["<", "a"], "'<' takes a field and a value; got 1 arguments"),
        (["==", "a", 1, 2], "'==' takes a field and a value; got 3 arguments"),
        (["==", 5, 1], "the field of '==' must be a string; got a number"),
        ([">", None, 1], "the field of '>' must be a string; got null"),
        (["not"], "'not' takes one filter; got 0 arguments"),
        (["not", ["and"], ["and"]], "'not' takes one filter; got 2 arguments"),
        (["and", "a"], "a filter is an array like [\"==\", field, value]; got 'a', at [1]"),
        (
            ["or", ["and"], ["and", ["not", ["=="]]]],
            "'==' takes a field and a value; got 0 arguments, at [2][1][1]",
        ),
        (nested(33), "the filter is nested deeper than 32 levels"),
        (["and", *[["==", "a", 1]] * 1001], "the filter has more than 1000 comparisons"),
        (["or", *[["and"]] * 1001], "the filter has more than 1000 comparisons"),
        (["==", "a", deep_list(33)], "a value in the filter is nested deeper than 32 levels"),
    ],
)
def test_a_malformed_filter_is_refused_by_name_of_its_fault(query: Any, error: str) -> None:
    with pytest.raises(BadQuery) as refusal:
        filter_matches(ROW, query)
    assert str(refusal.value) == error


def test_a_filter_may_be_as_large_as_the_limits_say() -> None:
    assert filter_matches({"a": 1}, nested(31))
    assert not filter_matches({"a": 1}, nested(32))
    assert filter_matches({"a": 1}, ["and", *[["==", "a", 1]] * 1000])
    assert filter_matches({"a": deep_list(32)}, ["==", "a", deep_list(32)])


def test_the_error_does_not_repeat_a_huge_filter() -> None:
    huge = 10**5000
    queries: list[Any] = ["x" * 100_000, ["x" * 100_000], [huge], ["==", huge, 1], [{}] * 10_000]
    for query in queries:
        with pytest.raises(BadQuery) as refusal:
            compile_filter(query)
        assert len(str(refusal.value)) < 200


def test_a_filter_is_compiled_once_and_used_for_many_rows() -> None:
    query: list[Any] = ["==", "color", "blue"]
    matches = compile_filter(query)
    query[2] = "red"
    assert [matches({"color": color}) for color in ("blue", "red")] == [True, False]


# Random rows and filters, compared with the filter language spelled out once more.

FIELDS = st.sampled_from(["a", "b", "c", "a.b", "a.b.c", "b.a", "", "a."])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.integers()
    | st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e308])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "0", "1", "true", "a", "b", "\uffff", "\U0001f600"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = st.dictionaries(st.sampled_from(["a", "b", "c", ""]), VALUES, max_size=4)
COMPARISONS = st.tuples(st.sampled_from(["==", "<", "<=", ">", ">="]), FIELDS, VALUES).map(list)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, max_size=4)).map(
            lambda both: [both[0], *both[1]]
        )
        | inner.map(lambda part: ["not", part])
    ),
    max_leaves=8,
)


def kind(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "bool", int: "number", float: "number", str: "string"}.get(
        type(value), type(value).__name__
    )


def same(one: Any, other: Any) -> bool:
    if kind(one) != kind(other):
        return False
    if kind(one) == "list":
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if kind(one) == "dict":
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def naive(row: Any, query: Any) -> bool:
    name, *rest = query
    if name == "and":
        return all(naive(row, part) for part in rest)
    if name == "or":
        return any(naive(row, part) for part in rest)
    if name == "not":
        return not naive(row, rest[0])
    path, expected = rest
    found = [row]
    for step in path.split("."):
        found = [value[step] for value in found if type(value) is dict and step in value]
    if not found:
        return False
    if name == "==":
        return same(found[0], expected)
    if kind(found[0]) != kind(expected) or kind(expected) not in ("number", "string"):
        return False
    if kind(expected) == "string":
        one, other = ([ord(letter) for letter in text] for text in (found[0], expected))
    else:
        one, other = found[0], expected
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[name]


@given(row=ROWS, query=FILTERS)
def test_a_compiled_filter_means_what_the_language_says(row: Any, query: Any) -> None:
    assert filter_matches(row, query) is naive(row, query)


@given(row=ROWS, query=FILTERS)
def test_a_filter_means_the_same_after_travelling_as_json(row: Any, query: Any) -> None:
    travelled = decode(json.dumps([row, query]))
    assert filter_matches(*travelled) is filter_matches(row, query)


HOSTILE = st.recursive(
    SCALARS | st.sampled_from(["==", "<", ">=", "and", "or", "not", "a"]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=3).map(lambda rest: ["==", *rest])
        | st.lists(inner, max_size=3).map(lambda rest: ["and", *rest])
        | st.lists(inner, max_size=2).map(lambda rest: ["not", *rest])
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(row=VALUES, query=HOSTILE)
def test_whatever_comes_as_a_filter_is_answered_or_refused(row: Any, query: Any) -> None:
    try:
        matches = filter_matches(row, query)
    except BadQuery:
        return
    assert isinstance(matches, bool)
