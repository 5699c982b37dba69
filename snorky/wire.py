"""What travels: JSON text, and values in the one form in which they are equal."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_sorted_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()

_FLOATS_SKIP_INTEGERS = 2**53

TOO_DEEP = "nested too deeply, or contains itself"


class MalformedMessage(ValueError):
    """The text is not JSON; its message names the fault."""


def decode(text: str | bytes) -> Any:
    """Decode one JSON value. Raises MalformedMessage."""
    try:
        return _decoder.decode(text)
    except RecursionError as error:
        raise MalformedMessage(TOO_DEEP) from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        fault = error
    # JavaScript cuts strings in the middle of an emoji and escapes the half that is left. That is
    # JSON, but msgspec refuses it.
    try:
        utf8 = text.encode() if isinstance(text, str) else text
        if b"\\u" in utf8:
            return json.loads(utf8.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        pass
    raise MalformedMessage(str(fault)) from fault


def encode(value: Any) -> bytes:
    """Encode one JSON value as UTF-8.

    What ``json.dumps`` encodes is encoded with the same meaning, except that NaN
    and the infinities, which JSON lacks, become null. Raises TypeError or
    ValueError for what cannot be encoded.
    """
    try:
        return _encoder.encode(value)
    except (TypeError, UnicodeEncodeError):
        # msgspec refuses lone surrogates, and subclasses of str, int and float (as Django's
        # SafeString).
        return _encode_by_standard_library(value)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error


def canonical(value: Any) -> str:
    """Return a text that is equal for two values exactly when they are equal as JSON.

    Keys are sorted, 1.0 is 1, true is not 1 (as Python's ``==`` would have it). Raises as
    ``encode`` does.
    """
    try:
        try:
            return _sorted_text(value)
        except TypeError:
            return _sorted_text(json.loads(encode(value)))
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error


def _encode_by_standard_library(value: Any) -> bytes:
    try:
        text = json.dumps(value, default=_raw_value)
        plain = json.loads(text, parse_constant=_null_for_constant)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    try:
        return _encoder.encode(plain)
    except UnicodeEncodeError:
        # UTF-8 cannot carry lone surrogates, escapes can.
        return json.dumps(plain, separators=(",", ":")).encode("ascii")


def _raw_value(value: Any) -> Any:
    """What was encoded before, and stands among what msgspec refuses."""
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _sorted_text(value: Any) -> str:
    """Raises TypeError where ``value`` holds what is no plain JSON value of Python's."""
    if type(value) is not str:
        value = _normalised(value)
    try:
        return _sorted_encoder.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _normalised(value: Any) -> Any:
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:  # 1 and "1" are the same key
                raise TypeError(f"expected a str as key, got {key!r}")
        return {key: _normalised(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalised(item) for item in value]
    if isinstance(value, float):
        if value.is_integer() and abs(value) < _FLOATS_SKIP_INTEGERS:
            return int(value)
        return value if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) >= _FLOATS_SKIP_INTEGERS:
        return _as_float(value)
    return value


def _as_float(value: int) -> float | int:
    # Not the other way round: 1e300 has three hundred digits, and one channel may hold thousands.
    try:
        number = float(value)
    except OverflowError:
        return value
    return number if number == value else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is out of range")
    return number


def _null_for_constant(name: str) -> None:
    return None
