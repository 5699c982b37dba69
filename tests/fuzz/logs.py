"""What the server logs while it is fed with garbage: never a fault, never a forged line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = ("snorky", "tornado", "asyncio", "engineio", "socketio")


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def no_fault_logged() -> Iterator[None]:
    """Warnings are taken. An exception or an error fails, as does a line that is more than one."""
    handler = _Records()
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.propagate = False
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, (propagate, level) in zip(loggers, before, strict=True):
            logger.propagate = propagate
            logger.removeHandler(handler)
            logger.setLevel(level)
    formatter = logging.Formatter()
    for record in handler.records:
        fault = record.levelno >= logging.ERROR or record.exc_info
        assert not fault, formatter.format(record)
        if record.name != "snorky":
            continue  # how Tornado writes what it refuses is its business
        line = record.getMessage()
        assert line.isprintable(), f"not one printable line: {line!r}"
        assert len(line) < 2000, f"a line of {len(line)} characters: {line[:200]!r}"
