"""The tests of the C extension under GCC's sanitizers: ``python -m tests.fuzz.sanitized``.

Builds the extension into ``build/sanitized`` with checks for every access to memory and for
undefined behaviour, and runs its tests with that. Further arguments are pytest's.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build/sanitized/_fanout.so"
TESTS = ["tests/fuzz/test_fanout.py", "tests/test_fanout.py", "tests/test_audience.py"]


def build() -> None:
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    flags = "-shared -fPIC -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined"
    options = ["-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined"]
    include = sysconfig.get_paths()["include"]
    source = str(ROOT / "snorky/_fanout.c")
    command = ["gcc", *flags.split(), *options, f"-I{include}", source, "-o", str(BUILT)]
    subprocess.run(command, check=True)


def library(name: str) -> str:
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    if "LD_PRELOAD" not in os.environ:
        build()
        environment = {
            **os.environ,
            "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
            "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps much until its very end
            "PYTHONMALLOC": "malloc",  # so that each object is memory of its own
        }
        command = [sys.executable, "-m", "tests.fuzz.sanitized", *sys.argv[1:]]
        return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode
    import pytest

    spec = importlib.util.spec_from_file_location("snorky._fanout", BUILT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["snorky._fanout"] = module
    from snorky import fanout

    assert fanout._send_to_all is module.send_to_all
    return pytest.main(["-q", "-p", "no:cacheprovider", *TESTS, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
