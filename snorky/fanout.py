"""Writing the same bytes to many connections, in C where the extension was built.

A write through a transport costs about a third more than the system call that it ends in. The
extension makes the calls itself, for connections whose transport has nothing waiting; everything
else, also what a socket does not take at once, goes through the connection, which has the limits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from snorky.turn import Line

SWITCH = "SNORKY_PURE_PYTHON"
"""Environment variable: anything but an empty text or 0 leaves the extension alone."""

_SendToAll = Callable[[Iterable[Line], bytes], list[tuple[Line, int]]]


def _extension() -> _SendToAll | None:
    if os.environ.get(SWITCH, "0") not in ("", "0"):
        return None
    try:
        from snorky._fanout import send_to_all
    except ImportError:  # there was no compiler
        return None
    return send_to_all


_send_to_all = _extension()

IN_C = _send_to_all is not None
"""True where the extension is used."""


def write_to_all(connections: Iterable[Line], data: bytes) -> None:
    """Write ``data`` to every one of ``connections``, each with its limits."""
    if _send_to_all is None:
        for connection in connections:
            connection.write(data)
    else:
        for connection, sent_bytes in _send_to_all(connections, data):
            connection.write(data[sent_bytes:])
