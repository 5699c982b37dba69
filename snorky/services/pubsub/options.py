"""What a channel can be beside a channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from snorky.past import History
from snorky.patterns import pattern_matches


@dataclass(frozen=True, slots=True)
class Conflate:
    """Send only what is newest, at most so often, in the order in which it came."""

    per_second: float = 10.0
    """How often, at most."""

    key: str | None = None
    """A field of the messages, which are objects: of each of its values the newest is sent.

    None: the newest of the channel.
    """

    def __post_init__(self) -> None:
        if self.per_second <= 0:
            raise ValueError(f"expected more than 0 a second, got {self.per_second}")


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """What the channels of a pattern are. All of it is off by default, and costs nothing then."""

    history: History | None = None
    """How much is kept for those who were away."""

    conflate: Conflate | None = None
    """What comes too fast is sent less often."""

    presence: Literal["members", "count"] | None = None
    """Whether subscribers are told who else is there, or how many they are."""

    def __post_init__(self) -> None:
        if self.presence not in (None, "members", "count"):
            raise ValueError(f'expected presence "members" or "count", got {self.presence!r}')


PLAIN = ChannelOptions()


def options_of(channel: Any, options: Mapping[str, ChannelOptions]) -> ChannelOptions:
    """Those of the first pattern that matches."""
    for pattern, found in options.items():
        if pattern_matches(pattern, channel):
            return found
    return PLAIN
