"""Values as whole numbers in the same order, for filing intervals in cells."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal
from math import floor
from typing import Any

_FRACTION_BITS = 20
_LIMIT = 2**80
_TEXT_BYTES = 8
_FLOOR = Context(prec=80, rounding=ROUND_FLOOR)
_SCALE = Decimal(2**_FRACTION_BITS)


def position(value: Any) -> int:
    """A whole number that never falls where ``value`` (number or text) rises."""
    kind = type(value)
    if isinstance(value, str):
        start = value[:_TEXT_BYTES].encode("utf-8", "surrogatepass")[:_TEXT_BYTES]
        return int.from_bytes(start.ljust(_TEXT_BYTES, b"\0"), "big")
    # Numbers beyond all measure are compared, not scaled.
    if value >= _LIMIT:
        return _LIMIT << _FRACTION_BITS
    if value <= -_LIMIT:
        return -_LIMIT << _FRACTION_BITS
    if isinstance(value, int):
        return int(value) << _FRACTION_BITS
    if kind is Decimal:
        # 80 digits hold the whole part, so rounding down never steps over a whole number.
        return floor(_FLOOR.multiply(value, _SCALE))
    return floor(float(value) * (1 << _FRACTION_BITS))


def cells_of(low: Any, high: Any) -> tuple[int, tuple[int, ...]]:
    """The level of an interval and the cells of that level that it meets: one or two.

    A cell of level n holds 2**n positions, no fewer than the interval is wide.
    """
    first, last = position(low), position(high)
    level = (last - first).bit_length()
    first, last = first >> level, last >> level
    return level, ((first,) if first == last else (first, last))
