"""What travels: text to values, values to text, and the one text of each value."""

import json
import math
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snorky.wire import MalformedMessage, canonical, decode, encode


class SafeString(str):
    """As Django's."""


class Number(int):
    pass


class Ratio(float):
    """As numpy's float64."""


class Colour(IntEnum):
    RED = 1


class Word(StrEnum):
    BLUE = "blue"


class Point(NamedTuple):
    x: Any
    y: Any


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# Decoding


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        ("0", 0),
        ("-1.5e3", -1500.0),
        ('"größer 😀"', "größer 😀"),
        (" [1, [], {}]\n", [1, [], {}]),
        ('{"a": {"b": null}}', {"a": {"b": None}}),
        ("1" + "0" * 30, 10**30),
    ],
)
def test_text_and_utf8_bytes_are_decoded_alike(text: str, value: Any) -> None:
    assert decode(text) == value
    assert decode(text.encode()) == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "hello", "{", '{"a":}', "[1,]", "{'a': 1}", '"\x01"', "NaN", "Infinity", "1 2", "\0"],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        decode(text)
    with pytest.raises(MalformedMessage):
        decode(text.encode())


@pytest.mark.parametrize("text", [b"\xff", b'"\xff"', b'"\xed\xa0\x80"', '"ö"'.encode("latin-1")])
def test_what_is_not_utf8_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(text)


def test_the_fault_is_named() -> None:
    with pytest.raises(MalformedMessage, match=r"\(byte 7\)"):
        decode('{"a": 1;}')


@pytest.mark.parametrize("levels", [2_000, 30_000])
def test_nesting_deeper_than_the_stack_is_refused(levels: int) -> None:
    with pytest.raises(MalformedMessage, match="nested too deeply"):
        decode("[" * levels + "]" * levels)


def test_half_an_emoji_is_text_as_in_the_browser() -> None:
    """JavaScript cuts strings between UTF-16 units; JSON.stringify then escapes what is left."""
    assert decode(r'{"body": "hello \ud83d"}') == {"body": "hello \ud83d"}
    assert decode(rb'["\udc00", "\ud83d\ude00"]') == ["\udc00", "😀"]
    assert decode(r'["\ud83d", 1.5e3]') == ["\ud83d", 1500]


@pytest.mark.parametrize(
    "text",
    [
        r'["\ud83d", NaN]',
        r'["\ud83d", -Infinity]',
        r'["\ud83d", 1e999]',
        '["\\ud83d", "\ud83d"]',
        r'["\ud83d"',
        r'"\ud83',
        r'["\ud83d", ' + "[" * 30_000,
        r'["\ud83d", ' + "9" * 5000 + "]",
    ],
)
def test_half_an_emoji_excuses_no_other_fault(text: str) -> None:
    with pytest.raises(MalformedMessage):
        decode(text)


# Encoding

keys = st.one_of(
    st.text(max_size=3),
    st.integers(-3, 3),
    st.none(),
    st.booleans(),
    st.sampled_from([0.5, -2.0, SafeString("safe"), Number(7), Colour.RED, Word.BLUE, "\ud83d"]),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.text(st.characters(categories=["Cs", "Ll"]), max_size=3),
    st.sampled_from(
        [SafeString("größer"), Number(3), Ratio(0.5), Ratio("nan"), Colour.RED, Word.BLUE, 10**30]
    ),
)
what_json_dumps_encodes = st.recursive(
    leaves,
    lambda values: st.one_of(
        st.lists(values, max_size=3),
        st.lists(values, max_size=3).map(tuple),
        st.builds(Point, values, values),
        st.dictionaries(keys, values, max_size=3),
    ),
    max_leaves=10,
)


def meaning(value: Any) -> Any:
    """What the standard library makes of it, with null for what JSON lacks."""
    return json.loads(json.dumps(value), parse_constant=lambda constant: None)


def same(one: Any, other: Any) -> bool:
    """Equality of decoded JSON that tells true from 1, by RFC 8259's kinds of values."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(what_json_dumps_encodes)
def test_what_json_dumps_encodes_is_encoded_with_the_same_meaning(value: Any) -> None:
    text = encode(value)

    assert same(json.loads(text.decode(), parse_constant=pytest.fail), meaning(value))
    assert same(decode(text), meaning(value))


def test_text_is_utf8_and_not_escaped() -> None:
    assert encode(["größer", SafeString("größer")]) == '["größer","größer"]'.encode()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_become_null(number: float) -> None:
    assert encode([number]) == b"[null]"
    assert encode([number, SafeString("a")]) == b'[null,"a"]'
    assert json.loads(encode([number, "\ud83d"])) == [None, "\ud83d"]


def test_lone_surrogates_are_escaped_since_utf8_cannot_carry_them() -> None:
    text = encode({"\ud83d": "ö\udc00"})

    assert text.isascii()
    assert json.loads(text) == {"\ud83d": "ö\udc00"}


@pytest.mark.parametrize(
    "value", [object(), [1, object()], {(1, 2): 3}, {"a": print}, {None: print}]
)
def test_what_cannot_be_encoded_raises(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_what_contains_itself_raises() -> None:
    cycle: list[Any] = [SafeString("a")]
    cycle.append(cycle)

    with pytest.raises(ValueError, match=r"nested too deeply|Circular"):
        encode(cycle)
    with pytest.raises(ValueError, match=r"nested too deeply|Circular"):
        encode(cycle[1:])


@pytest.mark.parametrize("first", ["plain", SafeString("safe")])
def test_nesting_deeper_than_the_stack_raises(first: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        encode([first, nested(100_000)])
    with pytest.raises(ValueError, match="nested too deeply"):
        canonical([first, nested(100_000)])


# The canonical text

small_values = st.recursive(
    st.one_of(
        st.sampled_from([None, True, False, 0, 1, 1.0, -0.0, 0.5, 1e-7, 1e22, 10**22, 2**53 + 1]),
        st.sampled_from(["", "1", "true", "ö", "\ud83d", SafeString("ö"), Number(1), math.nan]),
    ),
    lambda values: st.one_of(
        st.lists(values, max_size=2),
        st.lists(values, max_size=2).map(tuple),
        st.dictionaries(
            st.sampled_from(["a", "1", "ö", "null", 1, None, SafeString("a")]), values, max_size=2
        ),
    ),
    max_leaves=4,
)


def respelled(value: Any) -> Any:
    """The same JSON value, written differently in Python."""
    if isinstance(value, list | tuple):
        return tuple(map(respelled, value))
    if isinstance(value, dict):
        # json.dumps writes every pair; the last one counts.
        pairs = json.loads(json.dumps(value)).items()
        return {SafeString(key): respelled(item) for key, item in reversed(pairs)}
    if isinstance(value, str):
        return SafeString(value)
    if type(value) is int and float(value) == value:
        return float(value)
    return value


@given(small_values, small_values)
@example([math.nan, "\ud83d"], [None, "\ud83d"])
@example([1e-7, SafeString("ö")], [1e-7, "ö"])
@example({1: "a", "1": "b"}, {"1": "b"})
@example({None: 1, "a": 2}, {"a": 2, "null": 1})
def test_canonical_texts_are_equal_exactly_when_the_values_are(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == same(meaning(one), meaning(other))


@given(what_json_dumps_encodes)
def test_the_canonical_text_does_not_depend_on_the_spelling(value: Any) -> None:
    value = meaning(value)

    assert canonical(value) == canonical(respelled(value))
    assert canonical(value) == canonical(json.loads(canonical(value)))


def test_the_canonical_text_is_json_of_the_value_with_sorted_keys() -> None:
    assert canonical("news") == '"news"'
    assert canonical({"b": [1.0, -0.0, True], "a": {"d": None, "c": "ö"}}) == (
        '{"a":{"c":"ö","d":null},"b":[1,0,true]}'
    )


@pytest.mark.parametrize("number", [1e300, -1e22, 2.0**53, 2.0**64])
def test_the_canonical_text_of_a_number_is_short(number: float) -> None:
    """Channels are kept by it, and a short message may hold thousands of numbers."""
    assert len(canonical(number)) <= 24
    assert canonical(number) == canonical(int(number))
    assert canonical(int(number)) != canonical(int(number) + 1)
