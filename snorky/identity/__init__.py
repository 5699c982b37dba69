"""Who is connecting, and from which page: decided once, before the connection is accepted."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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
    remote_address: str | None = None
    secure: bool = False
    """True for TLS."""

    @property
    def origin(self) -> str | None:
        """The page that connects: scheme, host and port; None for programs that are no browser."""
        return self.headers.get("Origin")

    @property
    def host(self) -> str:
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


Authenticate = Callable[[Handshake], Any | Awaitable[Any]]
"""Returns the identity of the peer (None: anonymous), or raises Refused."""


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]*)?", re.ASCII)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://" + _HOST.pattern, re.ASCII)


def origin_allowed(
    origin: str | None, host: str, allowed_origins: Sequence[str] | None = None
) -> bool:
    """Say whether a page of ``origin`` may talk to us at ``host`` (a Host header).

    Without ``allowed_origins``: pages of the same host name, whatever their port and scheme,
    since the web application usually listens on another port; programs that send no Origin; and
    pages opened from disk (``null``) while the host is a loopback name. ``allowed_origins`` adds
    to the same-host rule the origins it lists (``https://example.com``); ``["*"]`` allows all.
    """
    if isinstance(allowed_origins, str):
        raise TypeError(f"expected a list of origins, got the string {allowed_origins!r}")
    if origin is None:
        return True
    origin = origin.lower()
    listed = [allowed.lower().rstrip("/") for allowed in allowed_origins or ()]
    if "*" in listed or origin.rstrip("/") in listed:
        return True
    host_name = _name_in(_HOST, host.lower())
    if host_name is None:
        return False
    if origin == "null":
        return allowed_origins is None and _is_loopback(host_name)
    return _name_in(_ORIGIN, origin) == host_name


def _name_in(pattern: re.Pattern[str], text: str) -> str | None:
    """The host name; None where ``text`` is nothing that a browser would send."""
    match = pattern.fullmatch(text)
    return None if match is None else match[1].removesuffix(".") or None


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
