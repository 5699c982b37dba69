"""Debian's packages, unpacked into a directory: no root, and the system stays as it is.

Knows apt-get and dpkg. Leaves to the caller what to do with programs that expected to lie in /usr.
"""

import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness import BenchmarkError, find_tool


def unpack(directory: Path, packages: Sequence[str], *, only: str = "") -> dict[str, str]:
    """Download ``packages`` and what they depend on into ``directory``; returns their versions.

    What they depend on is left out where the system has it installed. With ``only``, everything
    whose name starts with it is taken, installed or not, and the rest left out.
    """
    ask = ["apt-get", "-s", "install", "--no-install-recommends", *packages]
    if only:
        ask[1:1] = ["-o", "Dir::State::status=/dev/null"]
    versions = {
        name: version
        for name, version in re.findall(r"^Inst (\S+) .*?\((\S+)", output(ask), re.MULTILINE)
        if name.startswith(only)
    }
    with tempfile.TemporaryDirectory(dir=directory) as downloads:
        wanted = {*packages, *versions}
        output(["apt-get", "-q", "download", *sorted(wanted)], Path(downloads))
        for package in Path(downloads).glob("*.deb"):
            output(["dpkg", "-x", str(package), str(directory)])
    return versions


def output(command: Sequence[str], directory: Path | None = None) -> str:
    find_tool(command[0])
    done = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        faults = re.findall(r"^E: .*", done.stderr, re.MULTILINE) or [done.stderr.strip()]
        hint = "`apt-get update` fetches the lists of packages" if command[0] == "apt-get" else ""
        raise BenchmarkError(
            "; ".join(filter(None, [f"{shlex.join(command)[:100]} failed", *faults[:3], hint]))
        )
    return done.stdout
