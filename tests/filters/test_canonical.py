"""The canonical form says the same as what was written, and the same for what says the same."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from snorky.filters import parse
from snorky.filters.grammar import BadQuery
from tests.filters.language import naive


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (["not", ["not", ["==", "a", 1]]], '["==","a",1]'),
        (["not", ["or", ["<", "a", 1]]], '["not",["<","a",1]]'),
        (["not", ["and", ["==", "a", 1], ["==", "b", 1]]],
         '["or",["not",["==","a",1]],["not",["==","b",1]]]'),
        (["not", ["isnull", "a", True]], '["isnull","a",false]'),
        (["and", ["and", ["==", "b", 1]], ["and", ["==", "a", 1]]],
         '["and",["==","a",1],["==","b",1]]'),
        (["or", ["==", "a", 2], ["==", "a", 1], ["==", "a", 1.0]], '["in","a",[1,2]]'),
        (["or", ["in", "a", [1, "x"]], ["==", "a", None]], '["in","a",["x",1,null]]'),
        (["and", ["not", ["==", "a", 1]], ["not", ["in", "a", [2]]]], '["not",["in","a",[1,2]]]'),
        (["in", "a", [1, 1.0]], '["==","a",1]'),
        (["in", "a", []], '["or"]'),
        (["not", ["in", "a", []]], '["and"]'),
        (["and", ["in", "a", [1, 2, 3]], [">", "a", 1], ["!=", "a", 3]], '["==","a",2]'),
        (["and", ["<", "a", 3], ["<=", "a", 2], [">", "a", 0]], '["and",["<=","a",2],[">","a",0]]'),
        (["or", ["<", "a", 3], ["<=", "a", 2]], '["<","a",3]'),
        (["and", [">=", "a", 2], ["<=", "a", 2]], '["==","a",2]'),
        (["and", [">", "a", 2], ["<=", "a", 2]], '["or"]'),
        (["and", ["==", "a", 1], ["==", "a", 2]], '["or"]'),
        (["and", ["<", "a", 1], ["<", "a", "x"]], '["or"]'),
        (["and", ["startswith", "a", "x"], ["startswith", "a", "xy"]], '["startswith","a","xy"]'),
        (["and", ["startswith", "a", "x"], ["startswith", "a", "y"]], '["or"]'),
        (["and", ["<", "a", 1], ["isnull", "a", False]], '["<","a",1]'),
        (["and", ["<", "a", 1], ["isnull", "a", True]], '["or"]'),
        (["or", ["<", "a", 1], ["not", ["<", "a", 1]]], '["and"]'),
        (["and", ["==", "b", 1], ["or"]], '["or"]'),
        # Never this: a field that is missing is neither.
        (["not", ["<", "a", 1]], '["not",["<","a",1]]'),
        (["<", "a", True], '["or"]'),
    ],
)  # fmt: skip
def test_filters_take_their_simplest_form(written: Any, canonical: str) -> None:
    assert parse(written).text == canonical


LEAVES: list[Any] = [
    *([name, "a", value] for name in ("==", "!=", "<", "<=", ">", ">=") for value in (1, 2, "x")),
    ["==", "a", None],
    ["!=", "a", None],
    ["in", "a", [1, 2]],
    ["in", "a", [2, "x", None]],
    ["isnull", "a", True],
    ["startswith", "a", ""],
    ["startswith", "a", "x"],
    ["startswith", "a", "xy"],
]
ROWS: list[Any] = [
    {},
    *({"a": value} for value in (None, 0, 1, 1.5, 2, 3, "", "x", "xy", "z", True)),
]


@pytest.mark.parametrize("joint", ["and", "or"])
def test_any_two_comparisons_of_a_field_mean_the_same_joined_and_simplified(joint: str) -> None:
    signed = [*LEAVES, *(["not", leaf] for leaf in LEAVES)]
    for pair in product(signed, repeat=2):
        query = [joint, *pair]
        simplified = parse(query).json
        for row in ROWS:
            assert naive(row, simplified) is naive(row, query), (query, simplified, row)


def test_what_says_the_same_is_equal_and_has_one_hash() -> None:
    one = parse(["and", ["==", "a", 1], ["<", "b", 2.0]])
    other = parse(["not", ["or", ["not", ["<", "b", 2]], ["not", ["==", "a", 1.0]]]])
    assert one == other
    assert hash(one) == hash(other)
    assert one != parse(["==", "a", 1])
    assert "==" in repr(one)


def test_what_is_refused_is_refused_by_its_place() -> None:
    deep: Any = 1
    for _ in range(33):
        deep = [deep]
    with pytest.raises(BadQuery, match=r"nested deeper than 32 levels, at \[2\]\[2\]\[1\]"):
        parse(["and", ["==", "a", 1], ["in", "a", [1, deep]]])
