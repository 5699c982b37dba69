"""Whether this ASGI application runs in several processes that nothing joins."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from pathlib import Path

from snorky.brokers.memory import MemoryBroker
from snorky.log import snorky_log
from snorky.service_registry import ServiceRegistry

SERVERS = ("uvicorn", "hypercorn", "gunicorn", "granian", "daphne")

_place: socket.socket | None = None
"""Held as long as the process lives: the first of several that one parent has started has it."""


def warn_of_others(registries: list[ServiceRegistry]) -> None:
    """Warn where services with a broker in memory run in one of several processes."""
    names = sorted(
        f'"{service.name}"'
        for registry in registries
        for service in registry.registered_services.values()
        if isinstance(getattr(service, "broker", None), MemoryBroker)
    )
    if names and is_one_of_several():
        snorky_log.critical(
            "This is one of several processes, and nothing joins them: services %s reach the "
            "clients of one process alone, and a list that is authorised in one cannot be opened "
            "in another. Run one worker, or give the services a broker: RedisBroker or "
            "PostgresBroker",
            ", ".join(names),
        )


def is_one_of_several() -> bool:
    """As far as can be told, by what started us and how."""
    return _asked_for_workers(sys.argv, os.environ.get("WEB_CONCURRENCY", "")) or _is_second()


def _asked_for_workers(argv: list[str], concurrency: str) -> bool:
    if not any(server in Path(argv[0]).parts or Path(argv[0]).stem == server for server in SERVERS):
        return False
    counts = [concurrency]
    for word, following in zip(argv[1:], [*argv[2:], ""], strict=True):
        if word in ("--workers", "-w"):
            counts.append(following)
        elif word.startswith("--workers="):
            counts.append(word.partition("=")[2])
    return any(count.isdigit() and int(count) > 1 for count in counts[-1:])


def _is_second() -> bool:
    """Whether a process that the same parent has started, by multiprocessing, is here already."""
    global _place
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux" or _place is not None:
        return False
    # A name in the abstract namespace: nothing is left behind, and one process alone has it.
    place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        place.bind(f"\0snorky in memory, started by {parent.pid}")
    except OSError:
        place.close()
        return True
    _place = place
    return False
