"""A stream of Tornado's whose peer has to take what is written to it, sooner or later."""

from __future__ import annotations

import asyncio
import socket

from tornado.iostream import IOStream

from snorky.wheel import wheel_of


class WatchedStream(IOStream):
    """Closes itself where something waits and nothing of it is taken for ``write_timeout`` seconds.

    Who asks for files and does not read them would keep its connection, and the file, for ever.
    """

    def __init__(self, sock: socket.socket, write_timeout: float) -> None:
        super().__init__(sock)
        self._progress = True
        self._intervals_without_progress = 0
        self._wheel = wheel_of(asyncio.get_running_loop(), write_timeout / 2)
        self._slot = self._wheel.add(self)

    def write_to_fd(self, data: memoryview) -> int:
        written = super().write_to_fd(data)  # None where it could not, whatever its type says
        self._progress = self._progress or bool(written)
        return written

    def close_fd(self) -> None:
        self._wheel.remove(self, self._slot)
        super().close_fd()

    def ping_or_close(self) -> None:
        """Called twice in ``write_timeout``."""
        progress, self._progress = self._progress, False
        if progress or not self.writing():
            self._intervals_without_progress = 0
            return
        self._intervals_without_progress += 1
        if self._intervals_without_progress == 2:
            self.close()
