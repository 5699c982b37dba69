"""Constants as a column's type can hold them, with the comparison that then means the same.

``x < 2.5`` is ``x <= 2`` for an integer column, and for a column of doubles ``x < 2**53 + 1`` is
``x <= 2**53``. So the database compares values of one type: exactly, and by its index.
"""

from __future__ import annotations

from decimal import Decimal
from math import floor
from typing import Any

from snorky.filters.values import INFINITY

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1

Comparison = tuple[str, Any] | bool
"""An operator and its constant; or the answer, for every value that is not null."""


def integer(operator: str, constant: float) -> Comparison:
    """A number compared with 64-bit integers."""
    below = constant if isinstance(constant, int) else floor(constant)
    if operator == "==":
        if below != constant or not MIN_INTEGER <= below <= MAX_INTEGER:
            return False
    elif below > MAX_INTEGER:
        return operator[0] == "<"
    elif below < MIN_INTEGER:
        return operator[0] == ">"
    return _rounded_down(operator, below, exact=below == constant)


def double(operator: str, constant: float) -> Comparison:
    """A number compared with doubles."""
    try:
        near = float(constant)
    except OverflowError:
        near = INFINITY if constant > 0 else -INFINITY
    if abs(near) == INFINITY:
        return operator != "==" and (operator[0] == "<") == (near > 0)
    if near <= constant:
        return _rounded_down(operator, near, exact=near == constant)
    if operator == "==":
        return False
    return ("<" if operator[0] == "<" else ">=", near)


def _rounded_down(operator: str, below: float, *, exact: bool) -> Comparison:
    if exact:
        return (operator, below)
    if operator == "==":
        return False
    return ("<=" if operator[0] == "<" else ">", below)


def exact_decimal(constant: float) -> Decimal:
    """A JSON number as the decimal that JSON text has for it."""
    if isinstance(constant, float) and not constant.is_integer():
        return Decimal(repr(constant))
    return Decimal(int(constant))


def text(operator: str, constant: str, *, without_nul: bool) -> Comparison:
    """A text compared with those that the database can hold.

    None holds lone surrogates, which stand between U+D7FF and U+E000; PostgreSQL holds no NUL,
    which stands before everything.
    """
    for index, character in enumerate(constant):
        if "\ud800" <= character <= "\udfff":
            if operator == "==" or operator == "startswith":
                return False
            return ("<" if operator[0] == "<" else ">=", constant[:index] + "\ue000")
        if character == "\0" and without_nul:
            if operator == "==" or operator == "startswith":
                return False
            return ("<=" if operator[0] == "<" else ">", constant[:index])
    return (operator, constant)


def instant(operator: str, nanoseconds: int) -> Comparison:
    """Nanoseconds compared with whole microseconds."""
    below, rest = divmod(nanoseconds, 1000)
    return _rounded_down(operator, below, exact=not rest)
