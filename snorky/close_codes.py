"""Why a connection was closed, and whether the client may come back.

A close code says it all: 1000-2999 are the WebSocket protocol's (RFC 6455, 7.4),
3000-3499 and 4000-4499 mean "come back", 3500-3999 and 4500-4999 mean "do not come
back by yourself". Snorky uses 3000-3999, applications may use 4000-4999.
"""

from __future__ import annotations

from typing import NamedTuple


class CloseCode(NamedTuple):
    """A close ``code`` with the ``reason`` that goes with it in frames, logs and metrics."""

    code: int
    reason: str


GOING_AWAY = CloseCode(1001, "server going away")
ABNORMAL = CloseCode(1006, "connection lost")
INTERNAL_ERROR = CloseCode(1011, "internal error")
SLOW_CLIENT = CloseCode(3000, "slow client: too many unsent bytes")
SILENT_CLIENT = CloseCode(3001, "silent client: no answer to pings")
TOKEN_EXPIRED = CloseCode(3002, "token expired: come back with a new one")
DISCONNECTED = CloseCode(3500, "disconnected by the application")
NOT_AUTHENTICATED = CloseCode(3501, "not authenticated")
