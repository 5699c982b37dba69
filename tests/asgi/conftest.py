"""Sites run under every ASGI server that we promise."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.asgi.asgi_site import Site

SERVERS = ["uvicorn-websockets-sansio", "uvicorn-wsproto", "hypercorn"]


@pytest_asyncio.fixture(params=SERVERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    served = Site(request.param)
    yield served
    await served.stop()


@pytest_asyncio.fixture
async def uvicorn_site() -> AsyncIterator[Site]:
    served = Site("uvicorn-auto")
    yield served
    await served.stop()
