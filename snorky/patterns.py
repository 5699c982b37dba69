"""Patterns of channels: ``news`` is that channel, ``news/*`` all that begin with ``news/``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def matches(channel: Any, patterns: Iterable[str]) -> bool:
    """Whether one of ``patterns`` matches. ``*`` is every channel; the others only match texts."""
    return any(pattern_matches(pattern, channel) for pattern in patterns)


def pattern_matches(pattern: str, channel: Any) -> bool:
    if pattern == "*":
        return True
    if not isinstance(channel, str):
        return False
    if pattern.endswith("*"):
        return channel.startswith(pattern[:-1])
    return channel == pattern
