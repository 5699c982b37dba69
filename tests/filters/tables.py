"""Rows at random, as a database holds them and as their JSON says them; and filters on them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

COLUMNS: dict[str, type] = {
    "id": int,
    "n": int,
    "r": float,
    "t": str,
    "nocase": str,
    "b": bool,
    "price": Decimal,
    "due": datetime,
    "day": date,
    "at": time,
    "ident": UUID,
    "info": dict,
    "info.price": Decimal,
    "info.due": datetime,
    "info.ident": UUID,
}

INTEGERS = [0, 1, -1, 2, 7, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.0, 0.5, -2.5, 0.1, 1e300, -1e-300, 2.0**53, float("nan"), float("inf"),
          float("-inf")]  # fmt: skip
TEXTS = ["", "a", "A", "ab", "aB", "b", "ä", "Ä", "z", "a%", "a_", "1", "true", "\uffff",
         "\U0001f600", "'", '"', "\\", "a b"]  # fmt: skip
NAMES = ["x", "y", "0", 'q"uote', "ünï", "price"]
INSTANTS = [
    datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=one)
    for one in (0, 1, -1, 500_000, 999_999, 3_600_000_000, 86_400_000_000)
] + [datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)]
DECIMALS = [Decimal(one) for one in ("0", "1.50", "-2", "100.00", "50", "9.99", "0.10", "12345.67")]
DAYS = [date(2026, 1, 1), date(2025, 12, 31), date(1, 1, 1), date(9999, 12, 31)]
TIMES = [time(0), time(12, 30), time(12, 30, 0, 250_000), time(23, 59, 59, 999_999)]
IDENTS = [UUID(int=one) for one in (0, 1, 2**127, 2**128 - 1, 0xABCDEF << 100)]


def a_json(random: Random, depth: int = 0) -> Any:
    chance = random.random()
    if chance < 0.6 or depth > 2:
        return random.choice([None, True, False, 0, 1, 1.0, 2.5, 0.1, 2**53, 1e300, *TEXTS])
    if chance < 0.75:
        return [a_json(random, depth + 1) for _ in range(random.randrange(3))]
    return {name: a_json(random, depth + 1) for name in random.sample(NAMES, random.randrange(4))}


def an_info(random: Random) -> Any:
    if random.random() < 0.2:
        return a_json(random)
    info = {name: a_json(random) for name in random.sample(NAMES, random.randrange(5))}
    if random.random() < 0.6:
        info["price"] = random.choice(["1.50", "1.5", 1.5, 2, "cheap", None, "1e2", True, [1]])
        info["due"] = random.choice([rendered(random, random.choice(INSTANTS)), "soon", None, 5])
        info["ident"] = random.choice([str(random.choice(IDENTS)), "none", None])
    return info


def rendered(random: Random, value: Any) -> Any:
    """The value as some serializer might put it into JSON."""
    if isinstance(value, datetime):
        zone = timezone(timedelta(hours=random.choice([0, 2, -5]), minutes=random.choice([0, 30])))
        text = value.astimezone(zone).isoformat(random.choice(["T", " "]))
        return text.replace("+00:00", "Z") if random.random() < 0.5 else text
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return random.choice([str(value), f"{value:.4f}", float(value)])
    if isinstance(value, UUID):
        return random.choice([str(value), value.hex, str(value).upper()])
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def a_record(random: Random, number: int) -> dict[str, Any]:
    """What the database holds."""

    def one(values: list[Any]) -> Any:
        return None if random.random() < 0.15 else random.choice(values)

    return {
        "id": number,
        "n": one(INTEGERS),
        "r": one(FLOATS),
        "t": one(TEXTS),
        "nocase": one(TEXTS),
        "b": one([True, False]),
        "price": one(DECIMALS),
        "due": one(INSTANTS),
        "day": one(DAYS),
        "at": one(TIMES),
        "ident": one(IDENTS),
        "info": an_info(random),
    }


def as_row(random: Random, record: dict[str, Any]) -> dict[str, Any]:
    """The record's JSON, as a page gets it."""
    row = {name: rendered(random, value) for name, value in record.items() if name != "info"}
    return row | {"info": record["info"]}


CONSTANTS: dict[str, list[Any]] = {
    "id": [0, 1, 5],
    "n": [*INTEGERS, 0.5, 10**30, -(10**400), 2.0**63, 1e300],
    "r": [one for one in FLOATS if abs(one) < float("inf")] + [2**53 + 1, 10**30, 10**400, 3],
    "t": [*TEXTS, "\ud800", "a\ud83d", "a\0b", "a\0"],
    "nocase": [*TEXTS, "a\0b"],
    "b": [True, False],
    "price": [*map(str, DECIMALS), 1.5, 50, "1E+2", "1e400", "0.0999999"],
    "due": ["2026-01-01T00:00:00.0000005Z", "2026-01-01T00:00:00.000001999Z",
            "2026-01-01 02:00:00+02:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00",
            "2026-01-01T01:00:00"],
    "day": [one.isoformat() for one in DAYS],
    "at": [*(one.isoformat() for one in TIMES), "12:30:00.2500001", "12:30"],
    "ident": [*map(str, IDENTS), "ABCDEF00-0000-0000-0000-000000000000"],
}  # fmt: skip
JSON_CONSTANTS = [None, True, False, 0, 1, 2.5, 0.1, 10**400, 2**53, "", "a", "A", "ab", "a\0",
                  "\ud800", "1", [], {}, [1], [1.0, "a"], {"x": 1}, {"x": None}]  # fmt: skip
FIELDS = [*CONSTANTS, "info", "info.x", "info.y", "info.0", 'info.q"uote', "info.ünï", "info.x.y",
          "info.price", "info.due", "info.ident", "t.x", "nothing", "no.thing"]  # fmt: skip


def constants_of(field: str) -> list[Any]:
    kinds = {"info.price": "price", "info.due": "due", "info.ident": "ident"}
    return CONSTANTS.get(kinds.get(field, field), JSON_CONSTANTS)


def a_constant(random: Random, field: str) -> Any:
    typed = COLUMNS.get(field) in (Decimal, datetime, date, time, UUID)
    chance = random.random()
    if chance < 0.1:
        return None
    if chance < 0.2 and not typed:
        return random.choice(JSON_CONSTANTS)
    return random.choice(constants_of(field))


def a_comparison(random: Random) -> Any:
    field = random.choice(FIELDS)
    typed = COLUMNS.get(field) in (Decimal, datetime, date, time, UUID)
    name = random.choice(["==", "!=", "<", "<=", ">", ">=", "in", "isnull", "startswith"])
    if name == "startswith" and typed:
        name = "=="
    if name == "isnull":
        return [name, field, random.random() < 0.5]
    if name == "startswith":
        return [name, field, random.choice([*TEXTS, "a\0", "\ud800"])]
    if name == "in":
        return [name, field, [a_constant(random, field) for _ in range(random.randrange(5))]]
    return [name, field, a_constant(random, field)]


def a_filter(random: Random, depth: int = 0) -> Any:
    chance = random.random()
    if chance < 0.5 or depth > 2:
        return a_comparison(random)
    if chance < 0.7:
        return ["not", a_filter(random, depth + 1)]
    parts = [a_filter(random, depth + 1) for _ in range(random.randrange(4))]
    return [random.choice(["and", "or"]), *parts]


def json_text(value: Any) -> str:
    return json.dumps(value)
