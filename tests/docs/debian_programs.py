"""Debian programs that the manual speaks of: as installed, or unpacked into build/debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import debian  # noqa: E402
from harness import BenchmarkError  # noqa: E402


def program(package: str, path: str) -> tuple[str, dict[str, str]]:
    """The command at ``path`` of ``package``, and the environment that it needs."""
    if installed := shutil.which(Path(path).name, path=f"{os.environ['PATH']}:/usr/sbin"):
        return installed, {}
    folder = ROOT / "build" / "debian" / package
    if not (folder / path).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f"{package}.{os.getpid()}")
        unfinished.mkdir()
        try:
            unpack(unfinished, package)
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    libraries = {str(library.parent) for library in folder.glob("**/*.so*")}
    return str(folder / path), {"LD_LIBRARY_PATH": ":".join(sorted(libraries))}


def unpack(folder: Path, package: str) -> None:
    try:
        debian.unpack(folder, [package])
    except BenchmarkError:
        # A machine that has never fetched the lists of packages, as fresh containers.
        subprocess.run(["apt-get", "-q", "update"], check=True, capture_output=True)
        debian.unpack(folder, [package])
