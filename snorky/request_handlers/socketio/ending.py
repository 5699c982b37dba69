"""A program that Ctrl-C has ended leaves tasks behind, which CPython before 3.12 may not survive.

It frees what ``_asyncio`` stands on before the tasks that are left. Where the collector then ends a
coroutine that touches a future, as ``asyncio.Queue.get`` does when it was woken and had no time to
run, the process dies of a segmentation fault. So nothing ends them: the system takes their memory
with the rest. From 3.12 on the module keeps what it needs; this can go with Python 3.11.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import sys
from weakref import WeakSet

_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def keep_tasks_at_exit() -> None:
    """Let nothing collect what the running loop has left when the program ends."""
    if sys.version_info < (3, 12):
        _loops.add(asyncio.get_running_loop())


@atexit.register
def _keep_tasks() -> None:
    for loop in tuple(_loops):
        for task in asyncio.all_tasks(loop):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))  # for ever
