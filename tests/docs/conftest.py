"""The server of the reference's pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.docs.protocol_site import Live

OpenLive = Callable[..., Live]


@pytest.fixture
async def open_live(listen: Callable[..., int], open_front_door: Callable[..., Any]) -> OpenLive:
    """``open_live(limits=..., authenticate=..., frontend=...)`` -> a server."""

    def start(**options: Any) -> Live:
        return Live(listen, open_front_door, **options)

    return start


@pytest.fixture
async def live(open_live: OpenLive) -> Live:
    return open_live()
