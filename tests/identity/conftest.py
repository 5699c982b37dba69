"""One suite, two doors: what is said of identities holds through Tornado and the front door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.request_handlers.websocket_site import Site


@pytest.fixture(params=["tornado", "front-door"])
async def site(
    request: pytest.FixtureRequest,
    listen: Callable[..., int],
    open_front_door: Callable[..., Any],
) -> Site:
    return Site(listen, open_front_door if request.param == "front-door" else None)
