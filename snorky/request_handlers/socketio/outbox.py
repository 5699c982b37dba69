"""What waits for one Socket.IO peer, counted in bytes."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Cuttable(Protocol):
    """A request or a WebSocket that serves a session."""

    def cut(self) -> None: ...


class Outbox(asyncio.Queue[Any]):
    """Packets on their way to one peer, in order. None is the end."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent_bytes = 0
        """Of what waits here, and of what was taken and is not known to be sent."""
        self.carriers: set[Cuttable] = set()
        """Requests and WebSockets that serve the session now."""
        self.ended = False
        self._taken_bytes = 0
        self._shrunk = asyncio.Event()

    async def get(self) -> Any:
        # Who asks for more has sent what it took: the peer polls anew, or the writer goes on.
        self.sent(self._taken_bytes)
        return await super().get()

    def sent(self, nbytes: int) -> None:
        """Note that bytes which were taken have left."""
        nbytes = min(nbytes, self._taken_bytes)
        self._taken_bytes -= nbytes
        self.unsent_bytes -= nbytes
        self._shrunk.set()

    async def wait_until_below(self, nbytes: int) -> None:
        """Return when less is unsent, or when the session has ended."""
        while self.unsent_bytes > nbytes and not self.ended:
            self._shrunk.clear()
            await self._shrunk.wait()

    def end(self, close_timeout: float) -> None:
        """Send what waits, then nothing; cut what has not closed by itself in time."""
        if not self.ended:
            self.ended = True
            self._shrunk.set()
            self.put_nowait(None)
            asyncio.get_running_loop().call_later(close_timeout, self.cut)

    def take_rest(self) -> list[Any]:
        """Take what still waits after the end."""
        rest = []
        while not self.empty():
            packet = self.get_nowait()
            if packet is not None:
                rest.append(packet)
        return rest

    def cut(self) -> None:
        """Cut the connections of the session, whatever waits."""
        self.take_rest()
        for carrier in tuple(self.carriers):
            carrier.cut()

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.unsent_bytes += _size_of(item)

    def _get(self) -> Any:
        item = super()._get()
        self._taken_bytes += _size_of(item)
        return item


def _size_of(packet: Any) -> int:
    data = None if packet is None else packet.data
    if isinstance(data, str):
        return byte_length(data) + 1  # the type of the packet
    return len(data) if isinstance(data, bytes) else 0


def byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
