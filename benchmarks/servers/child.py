"""A process that a server needs beside itself: started, waited for, never left behind."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

PR_SET_PDEATHSIG = 1
SECONDS_TO_START = 20


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def start(
    command: Sequence[str], ask: Callable[[], Any], *, environment: dict[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], Any]:
    """Start ``command``; return it and the first answer of ``ask``, which raises OSError till then.

    Its output goes to standard error: on standard output we print one line ourselves.
    """
    libc = ctypes.CDLL(None)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        env={**os.environ, **(environment or {})},
        # SIGTERM: it can still end the processes that it has started.
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
    )
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            return process, ask()
        except OSError as error:
            if process.poll() is not None:
                sys.exit(f"{command[0]} ended with status {process.returncode}")
            if time.monotonic() > deadline:
                process.kill()
                sys.exit(f"{command[0]} did not answer within {SECONDS_TO_START} s: {error}")
        time.sleep(0.01)
