"""Where it runs, and under which licence: no narrower than was promised."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def project() -> dict[str, Any]:
    described: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return described


def test_python_3_11_and_tornado_6_5_suffice() -> None:
    assert project()["requires-python"] == ">=3.11"
    assert "tornado>=6.5" in project()["dependencies"]


def test_the_licence_is_the_mozilla_public_licence() -> None:
    assert project()["license"] == "MPL-2.0"
    assert (ROOT / "LICENSE").read_text().startswith("Mozilla Public License Version 2.0")


def test_without_the_extension_and_what_windows_lacks_it_is_imported_all_the_same() -> None:
    program = (
        "import sys, socket, signal\n"
        "sys.modules['snorky._fanout'] = None\n"  # an import of it fails
        "sys.modules['resource'] = sys.modules['fcntl'] = sys.modules['uvloop'] = None\n"
        "del socket.AF_UNIX, signal.SIGHUP\n"
        "import snorky.request_handlers.front_door, snorky.cli, snorky.request_handlers.websocket\n"
        "import snorky.services.datasync, snorky.request_handlers.sockjs\n"
        "from snorky.fanout import IN_C; print(IN_C)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
