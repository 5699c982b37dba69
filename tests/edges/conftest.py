"""A browser for all tests of an edge, and a site of its own for each.

Both live in one event loop for each class of tests: a Node process takes longer to start than
most tests to run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import Certificate
from tests.edges.pages import Browser
from tests.edges.site import Site, start_browser


def pytest_asyncio_loop_factories(
    config: Any, item: Any
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"its own": item.cls.edge.new_event_loop}


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def browser(
    request: pytest.FixtureRequest,
    certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    browser = await start_browser(request.cls.edge, certificate, folder)
    yield browser
    await browser.close()


@pytest_asyncio.fixture(loop_scope="class")
async def site(
    request: pytest.FixtureRequest, browser: Browser, certificate: Certificate
) -> AsyncIterator[Site]:
    """When a test is over, every client must have left, and have left once."""
    site = Site(request.cls.edge, browser, certificate)
    yield site
    await site.close()
