"""JSON in and out, beside the standard library's."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from snorky.hashable import MAX_LEVELS, hashable
from snorky.wire import MalformedMessage, canonical, decode, encode
from tests.fuzz.lengths import examples
from tests.fuzz.targets import check_decoding
from tests.fuzz.values import json_values, levels_of, same, texts

JSON_PIECES = [
    *("[", "]", "{", "}", ",", ":", " ", "\n", '"', "\\", "null", "true", "false", "1", "-", "0"),
    *("1e5", "1E-7", ".5", "1.", "01", "1e999", "-1e999", "9" * 5000, "NaN", "Infinity", "\ufeff"),
    *('"a"', '"a":', r'"\u0000"', r'"\ud83d"', r'"\ud83d\ude00"', r'"\u00e9"', '"é😀"', "\x00"),
    *('{"a":1,"a":2}', "[" * 300, "]" * 300),
]
texts_like_json = st.one_of(
    json_values.map(json.dumps),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False)),
    st.lists(st.sampled_from(JSON_PIECES), max_size=12).map("".join),
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text = draw(texts_like_json)
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(JSON_PIECES)) + text[place:]
        start = draw(st.integers(0, len(text)))
        text = text[:start] + text[start + draw(st.integers(0, 2)) :]
    return text


@examples(400)
@given(damaged())
def test_what_is_decoded_means_what_the_standard_library_says(text: str) -> None:
    check_decoding(text)
    check_decoding(text.encode("utf-8", "surrogatepass"))


@examples(200)
@given(json_values)
def test_a_value_that_travels_is_the_same(value: Any) -> None:
    try:
        text = encode(value)
    except ValueError:
        assert _digits(value) > 4300, "only numbers as long as Python writes none"
        return
    assert same(json.loads(text), value)
    try:
        assert same(decode(text), value)
    except MalformedMessage:
        json.loads(text)


@examples(200)
@given(json_values, json_values)
def test_texts_are_equal_exactly_where_values_are(one: Any, other: Any) -> None:
    for value in (one, json.loads(json.dumps(one))):
        assert (canonical(value) == canonical(other)) == same(value, other)
    assert same(json.loads(canonical(one)), one)
    assert canonical(hashable_copy(one)) == canonical(one)
    assert len(canonical(one)) <= 2 * len(json.dumps(one)), "kept for each channel: not much longer"


@examples(200)
@given(json_values)
def test_whole_numbers_are_one_number_however_they_are_written(value: Any) -> None:
    assert canonical(with_ints(value)) == canonical(value)


def with_ints(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [with_ints(item) for item in value]
    if isinstance(value, dict):
        return {key: with_ints(item) for key, item in value.items()}
    return value


def hashable_copy(value: Any) -> Any:
    return hashable(json.loads(json.dumps(value)), levels=100_000)


@examples(200)
@given(json_values)
def test_what_is_hashable_is_found_again(value: Any) -> None:
    fresh = json.loads(json.dumps(value))
    try:
        made = hashable(fresh)
    except RecursionError:
        assert levels_of(value) > MAX_LEVELS
        return
    assert levels_of(value) <= MAX_LEVELS
    assert same(made, value)
    assert {made: 1}[hashable(json.loads(json.dumps(value)))] == 1


@examples(100)
@given(st.dictionaries(texts, st.floats() | st.integers(), max_size=3))
def test_what_json_lacks_becomes_null(value: dict[str, Any]) -> None:
    expected = {
        key: item if isinstance(item, int) or math.isfinite(item) else None
        for key, item in value.items()
    }
    assert same(json.loads(encode(value)), expected)


def _digits(value: Any) -> int:
    """Of the longest whole number in ``value``."""
    left, most = [value], 0
    while left:
        item = left.pop()
        if isinstance(item, list):
            left += item
        elif isinstance(item, dict):
            left += item.values()
        elif isinstance(item, int):
            most = max(most, item.bit_length() * 3 // 10)
    return most
