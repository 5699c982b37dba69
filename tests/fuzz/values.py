"""JSON values as nobody sends them who means well."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

odd_texts = st.sampled_from(
    [
        "",
        "\0",
        "\ud83d",
        "\udc00\ud83d",
        "\u2028",
        "line\nbreak",
        "\x1b[31m",
        "%s %d {} {0}",
        "__class__",
        "constructor",
        "../..",
        "'\"\\",
        "İK",
        "x" * 300,
        "1",
        "null",
    ]
)
texts = st.one_of(st.text(max_size=6), odd_texts)
odd_numbers = st.sampled_from(
    [
        *(
            0,
            -1,
            2**31,
            2**53,
            2**53 + 1,
            2**63,
            2**64,
            -(2**63) - 1,
            10**22,
            10**30,
            10**400,
            -(10**400),
        ),
        *(0.0, -0.0, 1.0, 0.1, 1e22, 1e300, 1.7976931348623157e308, 5e-324, -1e-300),
    ]
)
numbers = st.one_of(
    st.integers(-100, 100), st.floats(allow_nan=False, allow_infinity=False), odd_numbers
)


def within(value: Any, levels: int) -> Any:
    """``value`` within so many arrays and objects."""
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
json_values = st.recursive(
    leaves,
    lambda values: st.one_of(
        st.lists(values, max_size=4),
        st.dictionaries(texts, values, max_size=4),
        st.builds(within, values, st.integers(1, 200) | st.integers(124, 130)),
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1, but 1.0 is. Not by recursion, and so whatever the depth."""
    left = [(one, other)]
    while left:
        a, b = left.pop()
        if isinstance(a, bool) or isinstance(b, bool):
            if a is not b:
                return False
        elif isinstance(a, dict):
            if not isinstance(b, dict) or a.keys() != b.keys():
                return False
            left.extend((a[key], b[key]) for key in a)
        elif isinstance(a, list | tuple):
            if not isinstance(b, list | tuple) or len(a) != len(b):
                return False
            left.extend(zip(a, b, strict=True))
        elif isinstance(a, str) != isinstance(b, str) or a != b:
            return False
    return True


def levels_of(value: Any) -> int:
    """How many arrays and objects are within each other."""
    levels, row = 0, [value]
    while row := [item for item in row if isinstance(item, list | dict)]:
        levels += 1
        row = [
            child for item in row for child in (item.values() if isinstance(item, dict) else item)
        ]
    return levels
