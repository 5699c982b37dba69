"""JSON values that can be used as dictionary keys.

Services file clients under channels, documents and queries, and those may be
any JSON value. The classes are real lists and dicts: ``isinstance``, ``==`` and
JSON encoding work. As with any key: do not change one while it is in use.
"""

from __future__ import annotations

from typing import Any


class HashableList(list[Any]):
    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


class HashableDict(dict[str, Any]):
    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def hashable(value: Any) -> Any:
    """Return ``value`` with every list and dict in it replaced by a hashable one.

    Raises RecursionError for nesting deeper than the interpreter's stack.
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(item) is dict or type(item) is list:
                value[key] = hashable(item)
        return HashableDict(value)
    if kind is list:
        return HashableList(
            [hashable(item) if type(item) in (dict, list) else item for item in value]
        )
    return value
