"""What engines over a network have in common: pauses, faults, and what is told of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from snorky.brokers.log import BrokerUnavailable
from snorky.hooks import HOOK_FAULTS
from snorky.log import printable, snorky_log

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two attempts to connect."""


class Pause:
    """How long to wait before the next attempt: longer each time, and never the same."""

    def __init__(self) -> None:
        self._seconds = SHORTEST_PAUSE

    async def wait(self) -> None:
        await asyncio.sleep(random.uniform(0.5, 1.0) * self._seconds)  # noqa: S311
        self._seconds = min(LONGEST_PAUSE, self._seconds * 2)

    def reset(self) -> None:
        self._seconds = SHORTEST_PAUSE


async def first_fault(
    works: Iterable[Coroutine[Any, Any, None]], lost: tuple[type[Exception], ...]
) -> Exception:
    """Do several things that end by raising alone; returns what the first one raised.

    ``lost`` is what a connection raises that is of no use any more; anything else is our own fault.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    fault = next(iter(done)).exception()
    assert isinstance(fault, Exception)
    if not isinstance(fault, lost) and not is_closed(fault):
        snorky_log.error("Unhandled exception in a broker", exc_info=fault)
    return fault


def is_closed(fault: Exception) -> bool:
    """Whether uvloop says that the connection was closed meanwhile; asyncio says nothing then."""
    return isinstance(fault, RuntimeError) and "the handler is closed" in str(fault)


def deliver(
    receivers: Sequence[Callable[[Any], None]],
    text: bytes,
    convert: Callable[[bytes], Any],
    topic: bytes,
) -> None:
    """Give each receiver what ``convert`` makes of a text. What is none, or fails, harms nobody."""
    try:
        message = convert(text)
    except (ValueError, TypeError, KeyError) as error:
        snorky_log.warning(
            "Dropped what is no message of ours on %s: %s",
            printable(topic.decode(errors="replace")),
            error,
        )
        return
    for receive in tuple(receivers):
        try:
            receive(message)
        except HOOK_FAULTS:
            snorky_log.exception(
                "Unhandled exception while receiving on %s",
                printable(topic.decode(errors="replace")),
            )


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    """Let a future raise; who has dropped it need not hear of it."""
    if not future.done():
        future.set_exception(error)
        future.exception()


def failed(error: Exception) -> asyncio.Future[Any]:
    """A future that raises; who has dropped it need not hear of it."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    fail(future, error)
    return future


def unavailable(error: BaseException | str) -> BrokerUnavailable:
    """The error for callers; what caused it is its cause."""
    text = str(error).strip() or type(error).__name__
    raised = BrokerUnavailable(f"the broker is away: {text}")
    if isinstance(error, BaseException):
        raised.__cause__ = error
    return raised
