"""JSON values that can be used as dictionary keys.

Services file clients under channels, documents and queries, and those may be
any JSON value. The classes are real lists and dicts: ``isinstance``, ``==`` and
JSON encoding work. As with any key: do not change one while it is in use.
"""

from __future__ import annotations

from typing import Any

MAX_LEVELS = 128
"""Lists and dicts within each other. Whoever walks a message needs stack for each level."""


class HashableList(list[Any]):
    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


class HashableDict(dict[str, Any]):
    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def hashable(value: Any, levels: int = MAX_LEVELS) -> Any:
    """Return ``value`` with every list and dict in it replaced by a hashable one.

    Dicts are replaced in place: ``value`` is the caller's own, fresh from the decoder. Raises
    RecursionError for more than ``levels`` levels of nesting.
    """
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    if levels == 0:
        raise RecursionError(f"expected at most {MAX_LEVELS} levels of nesting, got more")
    if kind is dict:
        for key, item in value.items():
            if type(item) is dict or type(item) is list:
                value[key] = hashable(item, levels - 1)
        return HashableDict(value)
    return HashableList(
        [hashable(item, levels - 1) if type(item) in (dict, list) else item for item in value]
    )
