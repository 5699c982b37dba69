"""Fuzz by coverage: ``python -m tests.fuzz [NAME ...] [--seconds N]``. Needs atheris, from PyPI.

Without names every target gets its share of the time. Inputs that reach something new are kept in
``build/fuzz`` for the next run; one that breaks a target is kept in ``crashes``, beside this file,
and replayed by the tests from then on.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRATCH = Path("build/fuzz")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=60, help="for all of them together")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _fuzz(options.names[0], options.seconds)
        return 0
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is missing: pip install atheris")
    from tests.fuzz.targets import TARGETS

    names = options.names or list(TARGETS)
    if not set(names) <= TARGETS.keys():
        parser.error(f"expected names among {', '.join(TARGETS)}")
    broken = []
    for name in names:
        # libFuzzer ends the process: each target has its own.
        seconds = str(max(1, options.seconds // len(names)))
        child = [sys.executable, "-m", "tests.fuzz", name, "--seconds", seconds, "--child"]
        print(f"== {name}", flush=True)
        if subprocess.run(child, check=False).returncode:
            broken.append(name)
    print(f"broken: {', '.join(broken)}" if broken else "nothing found")
    return 1 if broken else 0


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["snorky", "jwt", "engineio", "socketio"]):
        from tests.fuzz.targets import TARGETS

    found = SCRATCH / name
    crashes = HERE / "crashes" / name
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        str(found),
        str(HERE / "corpus" / name),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={crashes}/",
        "-timeout=20",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
