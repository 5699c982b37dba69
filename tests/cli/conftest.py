"""Programs for ``snorky serve``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def app(tmp_path: Path) -> Callable[[str], Path]:
    """``app(text)`` -> the file of a program with that text."""

    def write(text: str) -> Path:
        file = tmp_path / "app.py"
        file.write_text(text)
        return file

    return write
