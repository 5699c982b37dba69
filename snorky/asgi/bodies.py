"""The bodies of requests over ASGI: read piece by piece, never kept past their limit."""

from __future__ import annotations

from snorky.asgi.scopes import Receive
from snorky.edges.backend import too_large


class Gone(Exception):
    """The sender has left."""


class Body:
    """The body of one request.

    ``read_past_limit``: how many times the limit is read, and dropped, so that a refusal arrives:
    a connection closed with unread input is reset.
    """

    def __init__(self, receive: Receive, max_bytes: int, read_past_limit: int) -> None:
        self.ended = False
        self._receive = receive
        self._max_bytes = max_bytes
        self._most_dropped = read_past_limit * max_bytes

    async def read(self) -> bytes:
        """The whole body. Raises Refused past the limit, Gone where the sender leaves."""
        body = bytearray()
        while not self.ended:
            body += await self._read_piece()
            if len(body) > self._max_bytes:
                raise too_large(self._max_bytes)
        return bytes(body)

    async def drop(self) -> None:
        dropped = 0
        while not self.ended and dropped <= self._most_dropped:
            dropped += len(await self._read_piece())

    async def _read_piece(self) -> bytes:
        event = await self._receive()
        if event["type"] != "http.request":
            raise Gone
        self.ended = not event.get("more_body", False)
        piece: bytes = event.get("body", b"")
        return piece
