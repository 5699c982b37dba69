"""Channels and documents: any JSON value, kept as its canonical text and as nothing else."""

from __future__ import annotations

from typing import Any

import msgspec

from snorky.services.base import RPCError
from snorky.wire import canonical, decode, encode


def key_of(value: Any, max_bytes: int, refusal: str) -> str:
    """The text under which ``value`` is kept.

    Raises RPCError with ``refusal`` past ``max_bytes``: a value of many small objects takes more
    than twenty times the memory of its text, and its text takes a while.
    """
    if type(value) is str and len(value) < max_bytes // 6 - 2:
        return canonical(value)  # six bytes at most for each character, and quotes
    if isinstance(value, (list, dict)) and len(encode(value)) > 2 * max_bytes:
        raise RPCError(refusal)
    key = canonical(value)
    if len(key) > max_bytes or (not key.isascii() and len(key.encode()) > max_bytes):
        raise RPCError(refusal)
    return key


def value_of(key: str) -> Any:
    """The value to be sent: itself, or encoded where it is an array or an object."""
    return msgspec.Raw(key.encode()) if key[0] in "[{" else decode(key)
