from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from snorky.filters import FilterIndex, all_of, any_of, field, filter_matches, parse, to_sql
from snorky.wire import encode


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (field("team") == 3, '["==", "team", 3]'),
        (field("team") != None, '["!=", "team", null]'),  # noqa: E711 (it is the language's null)
        (field("age") < 18, '["<", "age", 18]'),
        (field("age") <= 18, '["<=", "age", 18]'),
        (field("age") > 18, '[">", "age", 18]'),
        (field("age") >= 18, '[">=", "age", 18]'),
        (field("state").in_({"open"}), '["in", "state", ["open"]]'),
        (field("due").isnull(), '["isnull", "due", true]'),
        (field("due").isnull(False), '["isnull", "due", false]'),
        (field("player.name").startswith("An"), '["startswith", "player.name", "An"]'),
        (~(field("a") == 1), '["not", ["==", "a", 1]]'),
        (~~(field("a") == 1), '["==", "a", 1]'),
        (
            (field("a") == 1) & (field("b") == 2) & (field("c") == 3),
            '["and", ["==", "a", 1], ["==", "b", 2], ["==", "c", 3]]',
        ),
        (
            (field("a") == 1) | ~((field("b") == 2) & (field("c") == 3)),
            '["or", ["==", "a", 1], ["not", ["and", ["==", "b", 2], ["==", "c", 3]]]]',
        ),
        (all_of(), '["and"]'),
        (any_of(field("a") == 1), '["or", ["==", "a", 1]]'),
        # As serializers render them.
        (field("price") < Decimal("9.50"), '["<", "price", "9.50"]'),
        (field("d") < datetime(2026, 1, 1, tzinfo=UTC), '["<", "d", "2026-01-01T00:00:00+00:00"]'),
        (field("day") == date(2026, 1, 1), '["==", "day", "2026-01-01"]'),
        (field("id").in_([UUID(int=1)]), '["in", "id", ["00000000-0000-0000-0000-000000000001"]]'),
    ],
)  # fmt: skip
def test_what_is_built_is_the_filters_json(built, text):
    assert built.json == json.loads(text)
    assert json.loads(encode(built)) == json.loads(text)


def test_whatever_takes_a_filter_takes_what_is_built():
    adults = (field("age") >= 18) & ~field("left").isnull(False)
    assert filter_matches({"age": 20}, adults)
    assert parse(adults) == parse(adults.json)
    assert to_sql(adults, {"age": int, "left": bool}).parameters == [18]
    index: FilterIndex[str] = FilterIndex()
    index.add(adults, "adults")
    assert index.match({"age": 20}) == ["adults"]


def test_words_of_python_that_cannot_build_are_refused():
    with pytest.raises(TypeError, match=r"join filters by &, \| and ~"):
        (field("a") == 1) and (field("b") == 2)
    with pytest.raises(TypeError):
        bool(field("a") == 1)
