"""JSON values as dictionary keys."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snorky.hashable import MAX_LEVELS, hashable
from snorky.wire import encode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=2), values, max_size=3)
    ),
    max_leaves=15,
)


def fresh(value: Any) -> Any:
    return json.loads(json.dumps(value))


@given(json_values)
def test_a_hashable_value_is_still_the_value(value: Any) -> None:
    made = hashable(fresh(value))

    assert made == value
    assert value == made
    assert json.dumps(made) == json.dumps(value)
    assert encode(made) == encode(value)


@given(json_values)
def test_every_value_finds_what_was_filed_under_its_equal(value: Any) -> None:
    filed = {hashable(fresh(value)): "found"}

    assert filed[hashable(fresh(value))] == "found"


def test_lists_and_dicts_stay_lists_and_dicts_all_the_way_down() -> None:
    made = hashable({"a": [{"b": []}]})

    assert isinstance(made, dict)
    assert isinstance(made["a"], list)
    assert isinstance(made["a"][0], dict)
    assert isinstance(made["a"][0]["b"], list)
    assert {made["a"]: 1, made["a"][0]: 2, made["a"][0]["b"]: 3}[hashable([{"b": []}])] == 1


def test_the_order_of_keys_does_not_matter() -> None:
    one, other = hashable({"a": 1, "b": [2]}), hashable({"b": [2], "a": 1})

    assert hash(one) == hash(other)
    assert one == other


def test_equal_numbers_have_equal_hashes_in_lists_too() -> None:
    assert hash(hashable([1, {"a": 2}])) == hash(hashable([1.0, {"a": 2.0}]))


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "text"])
def test_what_is_hashable_already_is_returned_as_it_is(value: Any) -> None:
    assert hashable(value) is value


def nested(levels: int, *, lists: bool) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value


@pytest.mark.parametrize("lists", [True, False])
def test_nesting_has_a_limit_so_that_whoever_walks_the_value_has_stack_left(lists: bool) -> None:
    assert hashable(nested(MAX_LEVELS, lists=lists)) == nested(MAX_LEVELS, lists=lists)
    with pytest.raises(RecursionError, match="at most"):
        hashable(nested(MAX_LEVELS + 1, lists=lists))
    with pytest.raises(RecursionError, match="at most"):
        hashable({"a": [nested(MAX_LEVELS, lists=lists)]})
