"""The application's predicate and the page's wish, in one filter."""

from typing import Any

import pytest

from snorky.backend.one_filter import chosen_filter
from snorky.filters import BadQuery, field

OWN = field("team") == 3


@pytest.mark.parametrize(
    ("own", "wish", "chosen"),
    [
        (None, None, ["and"]),
        (OWN, None, ["==", "team", 3]),
        (OWN, "", ["==", "team", 3]),
        (None, '["<", "n", 1]', ["<", "n", 1]),
        (OWN, ["<", "n", 1], ["and", ["==", "team", 3], ["<", "n", 1]]),
        (OWN, '["or", ["and"]]', ["and", ["==", "team", 3], ["or", ["and"]]]),
    ],
)
def test_both_are_joined(own: Any, wish: Any, chosen: Any) -> None:
    assert chosen_filter(own, wish) == chosen


def test_a_wish_names_only_fields_that_are_shown() -> None:
    shown = {"info", "n"}
    wish = ["and", ["==", "info.price", 1], ["==", "n", 1]]
    assert chosen_filter(None, wish, fields=shown) == wish
    with pytest.raises(BadQuery, match=r"no field 'secret\.hash'"):
        chosen_filter(None, ["not", ["==", "secret.hash", 1]], fields=shown)


def test_what_is_wrong_in_the_applications_filter_is_not_the_pages_fault() -> None:
    with pytest.raises(ValueError, match="own filter is malformed") as caught:
        chosen_filter(["like", "n", 1], ["==", "n", 1])
    assert not isinstance(caught.value, BadQuery)


def test_a_wish_cannot_be_deeper_than_a_filter_may_be() -> None:
    wish: Any = ["==", "n", 1]
    for _ in range(31):
        wish = ["not", wish]
    assert chosen_filter(None, wish) == wish
    with pytest.raises(BadQuery):
        chosen_filter(OWN, wish)
    with pytest.raises(BadQuery, match="as JSON"):
        chosen_filter(OWN, "[" * 7_000)
