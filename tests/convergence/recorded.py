"""The server under test, which writes down every entry of its log: FILE of ``snorky serve``."""

import json
import os
from pathlib import Path
from typing import Any

from tests.convergence.live import backend, datasync, frontend

# For the life of the process, however it ends.
record = Path(os.environ["CONVERGENCE_RECORD"]).open("a", buffering=1)  # noqa: SIM115


def write(entry: Any) -> None:
    keys = list(entry.data.get("keys", ())) if "deltas" in entry.data else []
    record.write(json.dumps({"position": str(entry.position), "keys": keys}) + "\n")


record.write(json.dumps({"position": str(datasync.changes.log.head), "keys": []}) + "\n")
datasync.changes.log.follow(write)

__all__ = ["backend", "frontend"]
