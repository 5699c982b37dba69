"""Both event loops, and no time limit for long runs (``lengths`` says what those are)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.fuzz.lengths import FACTOR
from tests.fuzz.packets import close_site

HERE = Path(__file__).parent


def pytest_asyncio_loop_factories(
    config: Any, item: Any
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session", autouse=True)
def leave_nothing_behind() -> Iterator[None]:
    yield
    close_site()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if FACTOR > 1:
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.timeout(0))
