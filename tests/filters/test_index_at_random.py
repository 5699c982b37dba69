"""The index finds what plain evaluation finds, whatever was added, removed and asked before."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snorky.filters import FilterIndex, Handle, compile_filter, parse
from tests.filters.language import CASES, TYPES, a_comparison, a_filter, a_row, naive

ROWS = CASES or 2_000
"""Matched in the long run; each is compared for every filter that is there."""


class Story:
    """An index and, beside it, a plain list of the same filters."""

    def __init__(self, random: Random, max_unindexed: int = 10_000) -> None:
        self.random = random
        self.index: FilterIndex[int] = FilterIndex(TYPES, max_unindexed)
        self.filters: dict[int, tuple[Any, Handle[int]]] = {}
        self.next = 0

    def add(self, query: Any) -> None:
        self.filters[self.next] = (query, self.index.add(query, self.next))
        self.next += 1

    def remove(self) -> None:
        payload = self.random.choice(list(self.filters))
        _, handle = self.filters.pop(payload)
        self.index.remove(handle)

    def a_query(self) -> Any:
        random = self.random
        chance = random.random()
        if chance < 0.1 and self.filters:
            return random.choice(list(self.filters.values()))[0]
        if chance < 0.5:
            # What a tenant's pages ask: many that share their predicates.
            return [
                "and",
                ["==", "d", random.randrange(3)],
                *(a_comparison(random) for _ in range(random.randrange(1, 4))),
            ]
        if chance < 0.7:
            low = random.randrange(12)
            return ["and", [">=", "e", low], ["<", "e", low + random.choice([1, 2, 5, 1e9])]]
        return a_filter(random)

    def check(self, row: Any) -> int:
        expected = sorted(
            payload for payload, (query, _) in self.filters.items() if naive(row, query, TYPES)
        )
        assert sorted(self.index.match(row)) == expected
        return len(expected)

    def check_update(self, old: Any, new: Any) -> None:
        before, after = self.index.match_update(old, new)
        assert sorted(before) == sorted(self.index.match(old))
        assert sorted(after) == sorted(self.index.match(new))

    def step(self) -> None:
        if self.filters and self.random.random() < 0.48:
            self.remove()
        else:
            self.add(self.a_query())


def test_the_index_agrees_with_plain_evaluation_over_a_long_life() -> None:
    random = Random(2026)
    story, hits, cases = Story(random), 0, 0
    while cases < ROWS:
        # It grows to a few hundred filters, and shrinks to none.
        target = random.choice([0, 20, 100, 400])
        while len(story.filters) < target:
            story.add(story.a_query())
        while len(story.filters) > target:
            story.remove()
        for _ in range(20):
            story.step()
            row = a_row(random)
            hits += story.check(row)
            story.check_update(row, row | a_row(random) if random.random() < 0.7 else dict(row))
            cases += 1
    assert hits > ROWS
    while story.filters:
        story.remove()
    assert_nothing_is_left(story.index)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_life_of_an_index_agrees_with_plain_evaluation(seed: int) -> None:
    random = Random(seed)
    story = Story(random)
    for _ in range(random.choice([1, 5, 60])):
        story.step()
    for _ in range(5):
        story.check(a_row(random))
    while story.filters:
        story.remove()
    assert_nothing_is_left(story.index)


@pytest.mark.parametrize("part", range(4))
def test_one_filter_means_the_same_alone_and_in_its_canonical_form(part: int) -> None:
    random = Random(part)
    for _ in range(CASES // 4 or 100):
        query = a_filter(random)
        parsed = parse(query, TYPES)
        assert parse(parsed.json, TYPES) == parsed, query
        alone, canonical = compile_filter(query, TYPES), compile_filter(parsed.json, TYPES)
        for _ in range(10):
            row = a_row(random)
            expected = naive(row, query, TYPES)
            assert alone(row) is expected, (query, row)
            assert canonical(row) is expected, (query, row)


def assert_nothing_is_left(index: FilterIndex[int]) -> None:
    assert (len(index), index.filters, index.unindexed, index.fields) == (0, 0, 0, [])
    assert not index._root.columns
    assert not index._reader._root
    assert not index._reader._keys
    assert not len(index._shapes)
