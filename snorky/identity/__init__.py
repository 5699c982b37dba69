"""Who is connecting, and from which page: decided once, before the connection is accepted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from snorky.identity.origins import origin_allowed

__all__ = ["Authenticate", "Authenticated", "Handshake", "Refused", "origin_allowed"]


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a peer says when it connects. The same for every edge."""

    path: str
    """The URL's path, without the query."""
    headers: Mapping[str, str]
    """Header fields; names are looked up whatever their case."""
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The URL's query: name -> values."""
    cookies: Mapping[str, str] = field(default_factory=dict)
    """Name -> value."""
    remote_address: str | None = None
    """The peer's address, as text without the port."""
    secure: bool = False
    """True for TLS."""

    @property
    def origin(self) -> str | None:
        """The page that connects: scheme, host and port; None for programs that are no browser."""
        return self.headers.get("Origin")

    @property
    def host(self) -> str:
        """What the peer calls this server: host and port; empty where it does not say."""
        return self.headers.get("Host", "")


class Refused(Exception):
    """The peer may not connect. ``reason`` is told to the peer.

    ``status`` is an HTTP status from 400 to 599: others are no refusals, or have no room for a
    reason.
    """

    def __init__(self, status: int = 401, reason: str = "Not authenticated") -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"expected an HTTP status from 400 to 599, got {status!r}")
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Authenticated:
    """An identity that ends. ``authenticate`` may return one; services see ``identity`` alone.

    An overridden ``open`` of a handler sees it as ``client.identity`` until it calls its base's.
    """

    identity: Any
    expires_at: float = field(compare=False)
    """Seconds since the epoch. The connection is closed then, unless it was renewed meanwhile."""
    ends: float | None = field(default=None, compare=False)
    """The same by ``time.monotonic()``, where it is known how long it lasts: then it ends by that,
    whatever clocks are set to meanwhile."""


Authenticate = Callable[[Handshake], Any | Awaitable[Any]]
"""Returns the identity of the peer (None: anonymous), or raises Refused."""
