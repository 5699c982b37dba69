"""The log of ``snorky serve`` on its way to standard error: nobody waits for who reads it."""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
from time import monotonic, sleep

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

STANDARD_ERROR = 2

MAX_WAITING_LINES = 10_000
"""Lines that wait to be written. Past it they are dropped, and counted."""

SECONDS_FOR_THE_REST = 2.0
"""How long the end of the process waits for lines that are not written yet."""


class LogWriter(logging.Handler):
    """Writes to a file descriptor, and never waits for it.

    A pipe that nobody reads is full after 64 KB, and whoever writes to it then waits for ever. What
    cannot be written at once is left to a thread, which may wait, and does not hold up the end of
    the process.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))
        self.lost = 0
        """Lines that were dropped and have not been told of."""
        self._descriptor = descriptor
        self._waiting: queue.Queue[bytes] = queue.Queue(MAX_WAITING_LINES)
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:
            self.handleError(record)
            return
        if not self._waiting.unfinished_tasks and self._takes(line):
            self._write(line)
            return
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self.lost += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Wait until all has been written, but not for ever."""
        deadline = monotonic() + SECONDS_FOR_THE_REST
        while self._waiting.unfinished_tasks and monotonic() < deadline:
            sleep(0.005)

    def _takes(self, line: bytes) -> bool:
        """Whether it can be written now without waiting: a pipe that is ready takes so much."""
        if not hasattr(select, "poll") or len(line) > select.PIPE_BUF:
            return False
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return any(event & select.POLLOUT for _, event in poll.poll(0))

    def _write_all(self) -> None:
        while True:
            line = self._waiting.get()
            self.acquire()  # as whoever counts does
            lost, self.lost = self.lost, 0
            self.release()
            if lost:
                line = b"%d lines of the log were lost: they were not read in time\n%b" % (
                    lost,
                    line,
                )
            self._write(line)
            self._waiting.task_done()

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # nobody will ever read it
            pass
