"""What every benchmark needs: building the generator, servers in processes of their own, facts.

Knows how to start a server on one core and the load generator on another, and what to write
beside a figure so that it can be judged later. Leaves the question, the scenarios and the
comparison to the benchmark.

A server program prints one line when it listens: ``{"port": int, "versions": {name: version}}``.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


def build(source: str) -> Path:
    """Compile a C program if it or a header has changed since it was last compiled."""
    code = HERE / source
    program = BUILD / code.stem
    newest = max(path.stat().st_mtime for path in (code, *HERE.glob("*.h")))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    BUILD.mkdir(exist_ok=True)
    # Another benchmark may be compiling it too, or running the old one: replaced in one step.
    unfinished = BUILD / f"{code.stem}.{os.getpid()}"
    compiler = os.environ.get("CC", "cc")
    run_tool([compiler, "-O2", "-Wall", "-Wextra", "-o", str(unfinished), str(code)])
    unfinished.rename(program)
    return program


def install_peers() -> None:
    """Install the npm packages that the peers are made of, as package-lock.json names them."""
    find_tool("node")
    installed = HERE / "node_modules" / ".package-lock.json"
    wanted = HERE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        run_tool(["npm", "ci", "--no-audit", "--no-fund", "--prefix", str(HERE)])


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


def raise_descriptor_limit(needed: int) -> None:
    """Let this process and those it starts open ``needed`` files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY:
            hard = max(hard, needed)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        except (ValueError, OSError) as error:
            raise BenchmarkError(
                f"expected a limit of at least {needed} open files, got {soft} "
                "(see `ulimit -Hn`): use fewer subscribers or raise the limit"
            ) from error


@contextmanager
def running(server: Server, core: int) -> Iterator[RunningServer]:
    """Start the server on ``core``; when the block is left, it and its children have ended."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no servers are left if we are killed

    find_tool(server.command[0])
    process = subprocess.Popen(
        server.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )
    try:
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], SECONDS_TO_START)
        line = process.stdout.readline() if ready else ""
        if not line:
            raise BenchmarkError(
                f"{server.name} did not listen within {SECONDS_TO_START} s, "
                f"exit status {process.poll()}: {shlex.join(server.command)}"
            )
        yield RunningServer(process, **json.loads(line))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run_generator(
    program: Path, server: RunningServer, core: int, options: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Run the generator against ``server``; returns what it measured.

    An option that is True is a flag. ``seconds`` bounds the whole run.
    """
    pids = server.pids()
    command = [str(program), "--port", str(server.port)]
    for name, value in options.items():
        command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    for pid in pids:
        command += ["--pid", str(pid)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=seconds,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"no end after {seconds:g} s: {shlex.join(command)}") from error
    result: dict[str, Any] = json.loads(done.stdout or "{}")
    if done.returncode or "error" in result:
        reason = result.get("error", f"exit status {done.returncode}")
        raise BenchmarkError(f"{reason}\n{shlex.join(command)}")
    if server.pids() != pids:
        raise BenchmarkError("the server started or ended processes: their CPU time is unknown")
    return result


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
