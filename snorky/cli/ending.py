"""The end of the process, whatever still runs in it."""

from __future__ import annotations

import logging
import os
import threading
from time import sleep

from snorky.log import snorky_log


def end_within(seconds: float, status: int) -> None:
    """End the process with ``status`` after so long, if it has not ended by itself.

    Python waits at its end for every thread, also for one that waits for ever: of a connection to
    a database that was not closed, or of a call that hangs.
    """
    threading.Thread(target=_end_after, args=(seconds, status), name="end", daemon=True).start()


def _end_after(seconds: float, status: int) -> None:
    sleep(seconds)
    alive = [
        thread.name
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]
    snorky_log.warning("Ending while something still runs; threads: %s", ", ".join(alive) or "none")
    logging.shutdown()
    os._exit(status)
