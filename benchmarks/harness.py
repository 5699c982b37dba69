"""What every benchmark needs: building the generator, servers in processes of their own, facts.

Knows how to start a server on one core and the load generator on another, and what to write
beside a figure so that it can be judged later. Leaves the question, the scenarios and the
comparison to the benchmark.

A server program prints one line when it listens: ``{"port": int, "versions": {name: version}}``.
It should listen on the port that the environment's PORT names, 0 being any.
Linux only: epoll, CPU affinity and clocks of other processes.
"""

import ctypes
import json
import os
import platform
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BUILD = HERE / ".build"
PR_SET_PDEATHSIG = 1
SECONDS_TO_START = 30


class BenchmarkError(Exception):
    """The benchmark cannot run, or a server did not do its work; the text is for the person."""


@dataclass(frozen=True)
class Server:
    """A program to be measured: its name in the report, and how it is started."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunningServer:
    process: subprocess.Popen[str]
    port: int
    versions: dict[str, str]

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        found = [self.process.pid]
        for pid in found:  # grows as it is read
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found

    def kill(self) -> None:
        """End it and its children now, as when the power fails."""
        stop(self.process)

    def memory_bytes(self) -> int:
        """What all its processes hold, pages they share counted once (the sum of their PSS)."""
        lines = [
            line
            for pid in self.pids()
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        ]
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def build(source: str) -> Path:
    """Compile a C program, a file or a folder of them, if it has changed since the last time."""
    code = HERE / source
    program = BUILD / code.stem
    files = sorted(code.glob("*.[ch]")) if code.is_dir() else [code]
    newest = max(path.stat().st_mtime for path in files)
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    BUILD.mkdir(exist_ok=True)
    # Another benchmark may be compiling it too, or running the old one: replaced in one step.
    unfinished = BUILD / f"{code.stem}.{os.getpid()}"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    units = [str(file) for file in files if file.suffix == ".c"]
    run_tool([*compiler, "-O2", "-Wall", "-Wextra", "-o", str(unfinished), *units])
    unfinished.rename(program)
    return program


def find_tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise BenchmarkError(f"expected the program {name!r} on PATH, found none: install it")
    return found


def run_tool(command: Sequence[str]) -> None:
    find_tool(command[0])
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")


def two_cores() -> tuple[int, int]:
    """A core for the server and another for the generator: neither takes time from the other."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchmarkError(f"expected at least 2 cores, may use only {cores}")
    return cores[0], cores[1]


def raise_descriptor_limit(wanted: int) -> int:
    """Let this process and those it starts open ``wanted`` files, or as many as the system allows.

    Returns how many they may open.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    with suppress(ValueError, OSError):  # only root may go beyond the hard limit, and not always
        more = hard if hard == unlimited else max(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, more))
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def start(
    command: Sequence[str], core: int, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a program on ``core``, in a session of its own; it ends when we are killed."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    find_tool(command[0])
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        preexec_fn=prepare,
    )


def stop(process: subprocess.Popen[str]) -> None:
    """Kill a started program and its children, and wait until it has ended."""
    assert process.stdout
    if process.stdout.closed:
        return  # it was stopped before
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def read_line(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line of its output; empty where it ended or printed none in time."""
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline() if ready else ""


@contextmanager
def running(server: Server, core: int, port: int = 0) -> Iterator[RunningServer]:
    """Start the server on ``core``; when the block is left, it and its children have ended.

    ``port`` is where it shall listen, if it can be told; 0: anywhere.
    """
    process = start(server.command, core, {**server.environment, "PORT": str(port)})
    try:
        line = read_line(process, SECONDS_TO_START)
        if not line:
            raise BenchmarkError(
                f"{server.name} did not listen within {SECONDS_TO_START} s, "
                f"exit status {process.poll()}: {shlex.join(server.command)}"
            )
        yield RunningServer(process, **json.loads(line))
    finally:
        stop(process)


Figures = dict[str, float]
"""What was measured, by name; the unit is part of the name."""


@dataclass(frozen=True)
class Generator:
    """The load generator while it runs."""

    process: subprocess.Popen[str]
    command: Sequence[str]

    def read(self, seconds: float) -> Figures:
        """The next object it prints. Raises BenchmarkError with the fault that it found."""
        line = read_line(self.process, seconds)
        if not line and self.process.poll() is None:
            raise BenchmarkError(f"no result after {seconds:g} s: {shlex.join(self.command)}")
        result: dict[str, Any] = json.loads(line or "{}")
        if not line or "error" in result:
            reason = result.get("error", f"exit status {self.process.wait()}")
            raise BenchmarkError(f"{reason}\n{shlex.join(self.command)}")
        return result

    def tell(self, text: str) -> None:
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it has ended: `read` says why
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()

    def release(self) -> None:
        """End its standard input."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.stdin = None  # or `communicate` flushes it


@contextmanager
def generating(
    program: Path, core: int, pids: Sequence[int], workload: str, options: Mapping[str, object]
) -> Iterator[Generator]:
    """Run the load generator on ``core``. An option that is True is a flag, one that is None or
    False is left out."""
    command = [str(program), workload]
    for name, value in options.items():
        if value is True:
            command.append(f"--{name}")
        elif value is not None and value is not False:
            command += [f"--{name}", str(value)]
    for pid in pids:
        command += ["--pid", str(pid)]
    generator = Generator(start(command, core), command)
    try:
        yield generator
    finally:
        stop(generator.process)


def circumstances() -> dict[str, Any]:
    """What else a reader has to know about a figure."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    script = Path(sys.argv[0]).resolve()
    inside = script.is_relative_to(HERE.parent)
    name = script.relative_to(HERE.parent) if inside else script
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", str(name), *sys.argv[1:]]),
        "commit": commit(),
        "machine": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(HERE), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        return None if done.returncode else done.stdout.strip()

    if not shutil.which("git") or not (head := git("rev-parse", "--short=12", "HEAD")):
        return "unknown"
    return f"{head} with local changes" if git("status", "--porcelain") else head
