"""What an ASGI scope says, in the words that every edge shares.

Servers and frameworks differ in what they leave out and in where a mount ends; both is settled
here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from snorky.identity import Handshake

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ASGIHandshake(Handshake):
    """A handshake with the scope it came in.

    What middleware in front has put there is for ``authenticate``: ``scope["user"]``,
    ``scope["session"]``.
    """

    scope: Scope = field(default_factory=dict, repr=False)


class Headers(Mapping[str, str]):
    """Header fields by name, whatever its case; what comes twice is joined."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._fields: dict[str, str] = {}
        for raw_name, raw_value in raw:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if name in self._fields:
                # HTTP/2 lets a browser send one field for each cookie (RFC 9113, 8.2.3).
                separator = "; " if name == "cookie" else ","
                value = f"{self._fields[name]}{separator}{value}"
            self._fields[name] = value

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def handshake_of(scope: Scope) -> ASGIHandshake:
    headers = Headers(scope.get("headers", ()))
    query = scope.get("query_string", b"").decode("latin-1")
    return ASGIHandshake(
        path=_root_of(scope) + path_in(scope),
        headers=headers,
        arguments=parse_qs(query, keep_blank_values=True),
        cookies=dict(_cookies_in(headers.get("Cookie", ""))),
        remote_address=remote_address_of(scope),
        secure=scope.get("scheme") in ("https", "wss"),
        scope=scope,
    )


def remote_address_of(scope: Scope) -> str | None:
    """None where the server listens on a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else None


def path_in(scope: Scope) -> str:
    """The path below the mount, without a slash at its end.

    By the specification ``path`` holds ``root_path`` too; some servers and frameworks leave it
    out. Litestar adds a slash.
    """
    path: str = scope.get("path", "")
    root = _root_of(scope)
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path.rstrip("/") or "/"


def _root_of(scope: Scope) -> str:
    root: str = scope.get("root_path") or ""
    return root.rstrip("/")


def _cookies_in(header: str) -> Iterator[tuple[str, str]]:
    """Like browsers: what is no cookie is passed over, and spoils none of the others."""
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            value = value.strip()
            if len(value) >= 2 and value[0] == value[-1] == '"':
                value = value[1:-1]
            yield name.strip(), value
