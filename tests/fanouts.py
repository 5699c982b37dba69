"""Both ways of writing to many: in C where the extension was built, and in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from snorky import fanout


@pytest.fixture(params=["C", "Python"] if fanout.IN_C else ["Python"])
def each_fanout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs twice: with the C extension, and without it."""
    if request.param == "Python":
        monkeypatch.setattr(fanout, "_send_to_all", None)


@pytest.fixture(autouse=True)
def _no_test_is_left_out(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Whatever writes to many in this process asks for ``each_fanout``."""
    extension = fanout._send_to_all
    if extension is None or "each_fanout" in request.fixturenames:
        yield
        return
    entered = False

    def notice(connections: Any, data: bytes) -> Any:
        nonlocal entered
        entered = True
        return extension(connections, data)

    monkeypatch.setattr(fanout, "_send_to_all", notice)
    yield
    assert not entered, 'it writes to many: add @pytest.mark.usefixtures("each_fanout")'
