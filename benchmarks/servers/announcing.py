"""The line that Snorky's server programs print when they listen."""

import json
import platform
from importlib.metadata import version

from snorky import fanout


def announce(port: int, *more: str) -> None:
    """``more``: packages beside those that every server of ours has."""
    versions = {name: version(name) for name in ("snorky", "tornado", "uvloop", "msgspec", *more)}
    versions["python"] = platform.python_version()
    versions["fan-out"] = "in C" if fanout.IN_C else "in Python"
    print(json.dumps({"port": port, "versions": versions}), flush=True)
