"""The filter language spelled out once more, slowly, and filters and rows at random.

What is random comes from a ``random.Random``, so that a seed gives the same case again.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, time
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from snorky.filters.values import Types

CASES = int(os.environ.get("SNORKY_FILTER_CASES", "0"))
"""Random cases of each property, for a long look (``make properties``); else each knows its own."""

TYPES: Types = {
    "price": Decimal,
    "due": datetime,
    "day": date,
    "at": time,
    "ident": UUID,
    "info.price": Decimal,
}

MISSING = object()
UNREADABLE = object()


def kind(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "bool", int: "number", float: "number", str: "string", tuple: "list"}.get(
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


def typed(value: Any, of: type | None) -> Any:
    """The value as the field's type has it; UNREADABLE where it is none."""
    if of is None or value is None or value is MISSING:
        return value
    try:
        if of is Decimal and kind(value) in ("string", "number"):
            number = Decimal(str(value))
            return number if number.is_finite() else UNREADABLE
        if not isinstance(value, str):
            return UNREADABLE
        if of is datetime:
            if "T" not in value.upper() and " " not in value:
                return UNREADABLE
            instant = datetime.fromisoformat(value)
            return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        if of is date:
            return date.fromisoformat(value)
        return time.fromisoformat(value) if of is time else UUID(value)
    except (ValueError, ArithmeticError):
        return UNREADABLE


def found(row: Any, field: str) -> Any:
    for name in field.split("."):
        if not isinstance(row, dict) or name not in row:
            return MISSING
        row = row[name]
    return row


def naive(row: Any, query: Any, types: Types = {}) -> bool:  # noqa: B006 (never changed)
    name, *rest = query
    if name == "and":
        return all(naive(row, part, types) for part in rest)
    if name == "or":
        return any(naive(row, part, types) for part in rest)
    if name == "not":
        return not naive(row, rest[0], types)
    field, expected = rest
    actual = found(row, field)
    if name == "isnull":
        return (actual is None or actual is MISSING) is expected
    if actual is MISSING:
        return False
    of = types.get(field)
    actual = typed(actual, of)
    if name == "in":
        return any(same(actual, typed(one, of)) for one in expected)
    expected = typed(expected, of)
    if name in ("==", "!="):
        return same(actual, expected) is (name == "==")
    if (
        kind(actual) != kind(expected)
        or expected is None
        or kind(expected) in ("bool", "list", "dict")
    ):
        return False
    if name == "startswith":
        return isinstance(actual, str) and bool(actual[: len(expected)] == expected)
    if kind(expected) == "string":
        actual, expected = ([ord(letter) for letter in text] for text in (actual, expected))
    return bool(
        {
            "<": lambda: actual < expected,
            "<=": lambda: actual <= expected,
            ">": lambda: actual > expected,
            ">=": lambda: actual >= expected,
        }[name]()
    )


SCALARS: list[Any] = [
    None, True, False, 0, 1, 2, -1, 3, 4, 5, 7, 0.5, 1.0, 2.5, -0.0, 1e300, 2**53, 2**53 + 1,
    10**30, -(10**400), "", "0", "1", "a", "ab", "abc", "b", "true", "\uffff", "\U0001f600",
    "x" * 70,
]  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "price": ["0", "1.50", "1.5", "-2", "100.00", "50.00", "9.99", 50, 1.5, "1E+2",
              "0.000000000000000001"],
    "info.price": ["2", "2.0", "30", 4],
    "due": ["2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00", "2026-01-01 00:00:00.5Z",
            "2025-12-31T23:59:59.999999-00:00", "2026-06-01T12:00:00", "0001-01-01T00:00:00Z"],
    "day": ["2026-01-01", "2025-12-31", "2026-02-28"],
    "at": ["00:00:00", "12:30:00", "12:30:00.25", "23:59:59.999999"],
    "ident": ["00000000-0000-0000-0000-000000000001", "FFFFFFFF-0000-0000-0000-000000000001",
              "ffffffff000000000000000000000001"],
}  # fmt: skip
FIELDS = ["a", "b", "c", "a.b", "a.b.c", "b.a", "info.x", "", "a.", "d", "e"]
UNREADABLE_VALUES: list[Any] = ["", "soon", True, [1], {"b": 1}, "2026-13-01", "1,5", 12]


def a_value(random: Random, depth: int = 0) -> Any:
    chance = random.random()
    if chance < 0.8 or depth > 2:
        return random.choice(SCALARS) if random.random() < 0.7 else random.randrange(12)
    if chance < 0.9:
        return [a_value(random, depth + 1) for _ in range(random.randrange(3))]
    return {name: a_value(random, depth + 1) for name in random.sample("abc", random.randrange(3))}


def a_row(random: Random) -> Any:
    row = {
        name: a_value(random)
        for name in random.sample(["a", "b", "c", "d", "e", ""], random.randrange(1, 7))
    }
    if random.random() < 0.4:
        row["a"] = {"b": a_value(random) if random.random() < 0.5 else {"c": a_value(random)}}
    for field, values in VALUES.items():
        if "." in field or random.random() < 0.4:
            continue
        row[field] = random.choice([*values, *values, None, random.choice(UNREADABLE_VALUES)])
    if random.random() < 0.5:
        row["info"] = {"x": a_value(random), "price": random.choice(VALUES["info.price"])}
    return row


def a_comparison(random: Random, *, with_types: bool = True) -> Any:
    name = random.choice(
        ["==", "==", "==", "!=", "<", "<=", ">", ">=", "in", "in", "isnull", "startswith"]
    )
    field = random.choice(FIELDS)
    if with_types and random.random() < 0.3:
        field = random.choice(list(VALUES))
        if name == "startswith":
            name = "=="
    values = VALUES.get(field) if with_types else None

    def constant() -> Any:
        if values is None:
            return a_value(random)
        return None if random.random() < 0.1 else random.choice(values)

    if name == "isnull":
        return [name, field, random.random() < 0.5]
    if name == "startswith":
        return [name, field, random.choice(["", "a", "ab", "x" * 65, "x" * 69 + "y", "\U0001f600"])]
    if name == "in":
        return [name, field, [constant() for _ in range(random.choice([0, 1, 2, 3, 8]))]]
    return [name, field, constant()]


def a_filter(random: Random, depth: int = 0, *, with_types: bool = True) -> Any:
    chance = random.random()
    if chance < 0.35 or depth > 3:
        return a_comparison(random, with_types=with_types)
    if chance < 0.45:
        return ["not", a_filter(random, depth + 1, with_types=with_types)]
    name = "and" if chance < 0.8 else "or"
    parts = random.choice([0, 1, 2, 2, 2, 3, 4])
    return [name, *(a_filter(random, depth + 1, with_types=with_types) for _ in range(parts))]
