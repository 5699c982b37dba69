"""What a path is, and which patterns match it.

``/jobs/*`` matches every path that begins with ``/jobs/``. A path has one such pattern per slash:
to find who is connected costs the length of the path, however many are connected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from snorky.services.base import RPCError

CONNECT, DISCONNECT = "::connect", "::disconnect"
"""Who connects to what is an update too: ``<id>-><path>``."""

EVERYTHING = "*"
"""The pattern of all paths, these two included. For parts of this program, and ``watch``."""

MAX_PATH_CHARACTERS = 256
MAX_PATH_SLASHES = 16
"""An update is published under one pattern for each."""


class BadPath(RPCError, ValueError):
    """A path, or a pattern, is none. The text says why."""


def check_path(path: Any) -> None:
    """Raises BadPath where ``path`` is neither a path nor a pattern."""
    if not isinstance(path, str):
        raise BadPath("A path must be a string")
    if not path:
        raise BadPath("A path must not be empty")
    if len(path) > MAX_PATH_CHARACTERS:
        raise BadPath(f"A path has at most {MAX_PATH_CHARACTERS} characters")
    if path.count("/") > MAX_PATH_SLASHES:
        raise BadPath(f"A path has at most {MAX_PATH_SLASHES} slashes")
    if not path.isprintable():
        raise BadPath("A path must be printable")
    if "*" in path.removesuffix("/*"):
        raise BadPath("* must be at the end of a path, after a slash")


def paths_in(path: Any) -> list[str]:
    """One path, or a list of them, checked. Raises BadPath."""
    paths = list(path) if isinstance(path, list | tuple) else [path]
    for each in paths:
        check_path(each)
    return paths


def patterns_of(path: str) -> Iterator[str]:
    """All patterns that match ``path``: ``*``, ``/*``, ``/jobs/*`` of ``/jobs/7``."""
    yield EVERYTHING
    slash = path.find("/")
    while slash >= 0:
        yield path[: slash + 1] + "*"
        slash = path.find("/", slash + 1)


def without_covered(patterns: list[str]) -> list[str]:
    """Each update is wanted once, whichever of the patterns match it."""
    prefixes = {pattern[:-1]: pattern for pattern in patterns if pattern.endswith("*")}
    return [
        pattern
        for pattern in dict.fromkeys(patterns)
        if not any(
            pattern.startswith(prefix) and pattern != other for prefix, other in prefixes.items()
        )
    ]
