"""Values as filters compare them: each with its kind, and fields that have a type.

A constant is ``(kind, comparable)``. Values of different kinds are never equal and have no order,
so ``true`` is not 1 and ``"1"`` is not 1. JSON gives three kinds; a field with a type has that
type's kind, and its values (text, as serializers render them, or Python's own) compare as what they
mean: 50.00 < 100.00, and ``12:00:00+02:00`` is ``10:00:00Z``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any
from uuid import UUID

from snorky.wire import canonical

NUMBER, TEXT, OTHER = "n", "s", "j"
"""The kinds of JSON's values. OTHER is null, booleans, arrays and objects, compared by their
canonical text, and only for equality."""

DECIMAL, INSTANT, DAY, TIME, IDENTIFIER = "D", "T", "d", "h", "u"
"""The kinds of fields with a type. All but decimals compare as integers: nanoseconds since 1970,
days, nanoseconds since midnight, 128 bits."""

ORDERED = (NUMBER, TEXT, DECIMAL, INSTANT, DAY, TIME, IDENTIFIER)

quoted = encode_basestring_ascii
"""A text as JSON, in ASCII: UTF-8 cannot carry lone surrogates, escapes can."""

Constant = tuple[str, Any]
Types = Mapping[str, type]

NULL: Constant = (OTHER, "null")
INFINITY = float("inf")

_SECOND = 1_000_000_000
_EPOCH = date(1970, 1, 1).toordinal()
MAX_PLAIN_INTEGER = 2**53
"""Up to it every integer is a double: past it doubles skip some."""

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK = r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9})\d*)?)?"
_TIME = re.compile(_CLOCK, re.ASCII)
_INSTANT = re.compile(
    rf"(\d{{4}}-\d\d-\d\d)[Tt ]{_CLOCK}(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII
)
_IDENTIFIER = re.compile(r"[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}", re.I | re.ASCII)


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.fullmatch(value) else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    # By its digits: 0.1 in JSON is a tenth.
    return Decimal(repr(float(value))) if isinstance(value, float) and is_finite(value) else None


def _instant(value: Any) -> int | None:
    if isinstance(value, str):
        match = _INSTANT.fullmatch(value)
        if match is None:
            return None
        day, hours, minutes, seconds, fraction, _, sign, offset_hours, offset_minutes = (
            match.groups()
        )
        days = _day(day)
        clock = _clock(hours, minutes, seconds, fraction)
        if days is None or clock is None:
            return None
        nanoseconds = (days - _EPOCH) * 86_400 * _SECOND + clock
        if sign is not None:
            offset = (int(offset_hours) * 60 + int(offset_minutes)) * 60 * _SECOND
            nanoseconds -= offset if sign == "+" else -offset
        return nanoseconds
    if isinstance(value, datetime):
        # One without a zone is taken as UTC, as text without a zone is.
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        since = aware - datetime(1970, 1, 1, tzinfo=UTC)
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    return None


def _day(value: Any) -> int | None:
    if isinstance(value, str):
        if not _DAY.fullmatch(value):
            return None
        try:
            return date.fromisoformat(value).toordinal()
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.toordinal()
    return None


def _time(value: Any) -> int | None:
    if isinstance(value, str):
        match = _TIME.fullmatch(value)
        return None if match is None else _clock(*match.groups())
    if isinstance(value, time) and value.tzinfo is None:
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        return seconds * _SECOND + value.microsecond * 1000
    return None


def _clock(hours: str, minutes: str, seconds: str | None, fraction: str | None) -> int | None:
    whole = (int(hours), int(minutes), int(seconds or 0))
    if whole[0] > 23 or whole[1] > 59 or whole[2] > 59:
        return None
    nanoseconds = int(fraction.ljust(9, "0")) if fraction else 0
    return ((whole[0] * 60 + whole[1]) * 60 + whole[2]) * _SECOND + nanoseconds


def _identifier(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value.replace("-", ""), 16) if _IDENTIFIER.fullmatch(value) else None
    return value.int if isinstance(value, UUID) else None


def _decimal_text(value: Decimal) -> str:
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    if not kept:
        return "0"
    exponent = int(exponent) + len(text) - len(kept)
    return str(Decimal((sign, tuple(map(int, kept)), exponent)))


def _instant_text(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _SECOND)
    # A zone may lead a little out of the years that datetime knows.
    try:
        text = (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        text = f"{seconds}s"
    return f"{text}{_fraction(rest)}Z"


def _time_text(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _SECOND)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{_fraction(rest)}"


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""


_KINDS: dict[type, str] = {
    Decimal: DECIMAL,
    datetime: INSTANT,
    date: DAY,
    time: TIME,
    UUID: IDENTIFIER,
}
_PLAIN: set[type] = {int, float, str, bool, dict, list}

CONVERT: dict[str, Callable[[Any], Any]] = {
    DECIMAL: _decimal,
    INSTANT: _instant,
    DAY: _day,
    TIME: _time,
    IDENTIFIER: _identifier,
}
"""From a value of a row to its comparable; None where it is no such value."""

_TO_TEXT: dict[str, Callable[[Any], str]] = {
    DECIMAL: _decimal_text,
    INSTANT: _instant_text,
    DAY: lambda days: date.fromordinal(days).isoformat(),
    TIME: _time_text,
    IDENTIFIER: lambda bits: str(UUID(int=bits)),
}

DESCRIPTIONS = {
    DECIMAL: "a decimal number",
    INSTANT: "an instant like 2026-01-31T12:00:00Z",
    DAY: "a date like 2026-01-31",
    TIME: "a time like 12:00:00",
    IDENTIFIER: "a UUID",
}


def kinds_of(types: Types | None) -> dict[str, str]:
    """The kind of each field that has one; raises TypeError for a type that is unknown.

    ``int float str bool dict list`` are what JSON has anyway: such fields need no declaration.
    """
    kinds = {}
    for field, kind in (types or {}).items():
        if kind in _KINDS:
            kinds[field] = _KINDS[kind]
        elif kind not in _PLAIN:
            names = ", ".join(sorted(known.__name__ for known in (*_KINDS, *_PLAIN)))
            raise TypeError(f"the type of field {field!r} must be one of {names}; got {kind!r}")
    return kinds


def is_finite(value: float) -> bool:
    return -INFINITY < value < INFINITY


def constant_of(value: Any) -> Constant:
    """A JSON value as a constant. Raises TypeError or ValueError for what is no JSON."""
    if isinstance(value, bool):
        return (OTHER, "true" if value else "false")
    if isinstance(value, str):
        return (TEXT, str(value))
    if isinstance(value, (int, float)):
        return (NUMBER, _number(value))
    return NULL if value is None else (OTHER, canonical(value))


def _number(value: float) -> float:
    """Equal numbers get one form: integers up to 2**53, floats above where they are exact."""
    if isinstance(value, float):
        if not is_finite(value):
            raise ValueError(f"{value} is not JSON")
        return int(value) if value.is_integer() and abs(value) < MAX_PLAIN_INTEGER else value
    value = int(value)
    if abs(value) >= MAX_PLAIN_INTEGER:
        try:
            as_float = float(value)
        except OverflowError:
            return value
        return as_float if as_float == value else value
    return value


def text_of(constant: Constant) -> str:
    """The constant as JSON text: equal for equal constants."""
    kind, value = constant
    if kind == TEXT:
        return quoted(value)
    if kind in (NUMBER, OTHER):
        return str(value)
    return quoted(_TO_TEXT[kind](value))
