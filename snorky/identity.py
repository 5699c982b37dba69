"""Who is connecting, and from which page: decided once, before the connection is accepted."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


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
    """The peer may not connect. ``status`` is an HTTP status, ``reason`` is told to the peer."""

    def __init__(self, status: int = 401, reason: str = "Not authenticated") -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


Authenticate = Callable[[Handshake], Any | Awaitable[Any]]
"""Returns the identity of the peer (None: anonymous), or raises Refused."""


def origin_allowed(
    origin: str | None, host: str, allowed_origins: Sequence[str] | None = None
) -> bool:
    """Say whether a page of ``origin`` may talk to us at ``host`` (a Host header).

    Without ``allowed_origins``: pages of the same host name, whatever their port and scheme,
    since the web application usually listens on another port; programs that send no Origin; and
    pages opened from disk (``null``) while the host is a loopback name. ``allowed_origins`` adds
    to the same-host rule the origins it lists (``https://example.com``); ``["*"]`` allows all.
    """
    if origin is None:
        return True
    if allowed_origins is not None and "*" in allowed_origins:
        return True
    origin = origin.lower()
    host_name = _host_name("//" + host)
    if origin == "null":
        if allowed_origins is None:
            return host_name is not None and _is_loopback(host_name)
        return "null" in allowed_origins
    if host_name is not None and _host_name(origin) == host_name:
        return True
    return allowed_origins is not None and any(
        origin == allowed.lower().rstrip("/") for allowed in allowed_origins
    )


def _host_name(url: str) -> str | None:
    try:
        name = urlsplit(url).hostname
    except ValueError:
        return None
    return name.rstrip(".") if name else None


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
