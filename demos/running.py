"""What the demos' ``run.py`` have in common: Django and Snorky side by side, until Ctrl-C.

A server that ends is started again, so that one can be stopped to see what the pages do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from snorky.cli.demo import can_show_a_browser

HOST = "127.0.0.1"
START_SECONDS = 30  # a server may take until it answers
STOP_SECONDS = 10  # and until it has stopped
LONGEST_LINE = 1024 * 1024  # of a server's log, in bytes


class Failed(Exception):
    """The demo cannot run; the text says why."""


def say(text: str) -> None:
    # The terminal may have been closed: that must not keep us from stopping the servers.
    with contextlib.suppress(OSError):
        print(text, flush=True)


class Server:
    """One of the programs, and the log it writes."""

    def __init__(self, name: str, ports: list[int], command: list[str]) -> None:
        self.answers = asyncio.Event()
        self._name = name
        self._ports = ports
        self._command = command

    async def keep_running(self) -> None:
        """Start it whenever it has ended. Raises Failed if it ends before it has answered."""
        while True:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                limit=LONGEST_LINE,
                # Ctrl-C is for us: we stop the servers, each once.
                start_new_session=True,
            )
            log = asyncio.create_task(self._copy_log(process))
            try:
                await self._wait_until_it_answers(process)
                self.answers.set()
                self._say(f"answers; to see what happens without it: kill {process.pid}")
                status = await process.wait()
                self._say(f"has ended with status {status} and is started again")
            finally:
                await _stop(process)
                await log

    async def _wait_until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while process.returncode is None:
                    if all([await answers(port) for port in self._ports]):
                        return
                    await asyncio.sleep(0.05)
        if process.returncode is None:
            raise Failed(f"{self._name} did not answer within {START_SECONDS} seconds.")
        raise Failed(f"{self._name} ended with status {process.returncode} before it answered.")

    async def _copy_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # it is a pipe
        async for line in process.stdout:
            self._say(line.decode(errors="replace").rstrip())

    def _say(self, text: str) -> None:
        say(f"{self._name:>6} | {text}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


def free_port(wanted: int, what: str) -> int:
    """Return ``wanted``, or any other port if somebody has it. 0: any."""
    for port in (wanted, 0):
        with socket.socket() as listener, contextlib.suppress(OSError):
            if os.name == "posix":  # elsewhere it would let us share the port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
            free: int = listener.getsockname()[1]
            if wanted not in (0, free):
                say(f"Port {wanted} is taken: {what} is at {free} instead.")
            return free
    raise Failed(f"There is no free port for {what}.")


@contextlib.contextmanager
def run_file(path: Path, content: dict[str, str]) -> Iterator[None]:
    """Let ``manage.py shell`` find the servers. Only we can read it, since the key is in it."""
    path.unlink(missing_ok=True)
    try:
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))
        yield
    finally:
        path.unlink(missing_ok=True)


def refuse_second_run(path: Path) -> None:
    """Two runs would share the database and not hear of each other's changes."""
    with contextlib.suppress(OSError):
        port = json.loads(path.read_text())["PORT"]
        with socket.create_connection((HOST, int(port)), timeout=1):
            raise Failed(f"The demo runs already: open http://{HOST}:{port}/")


async def run(address: str, servers: list[Server], *, browser: bool) -> None:
    if os.name == "posix":  # Windows has Ctrl-C alone, which asyncio understands
        task = asyncio.current_task()
        assert task is not None  # we are in it
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)

    async def welcome() -> None:
        for server in servers:
            await server.answers.wait()
        say(f"\n  Open {address} in two windows. Ctrl-C stops the demo.\n")
        if browser:
            await asyncio.to_thread(webbrowser.open, address)

    try:
        # A group, since it waits for every server to have stopped before it lets go.
        async with asyncio.TaskGroup() as group:
            group.create_task(welcome())
            for server in servers:
                group.create_task(server.keep_running())
    except* Failed as failures:
        raise failures.exceptions[0] from None


def demo(
    here: Path,
    options: argparse.Namespace,
    data_variable: str,
    workers: Sequence[str],
    more_settings: dict[str, str],
) -> None:
    """Set everything up and run it. Raises Failed, or what Ctrl-C raises."""
    port = free_port(options.port, "the page")
    snorky_port = free_port(options.snorky_port, "Snorky")
    backend_port = free_port(options.backend_port, "Snorky's back end")
    settings = {
        "PORT": str(port),
        "SNORKY_PORT": str(snorky_port),
        "SNORKY_BACKEND_PORT": str(backend_port),
        "SNORKY_API_KEY": secrets.token_urlsafe(32),
        **more_settings,
    }
    os.environ |= settings | {
        data_variable: str(options.data),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_RUNSERVER_HIDE_WARNING": "true",
    }
    manage = [sys.executable, str(here / "manage.py")]
    if subprocess.run([*manage, "migrate", "--verbosity", "0"], check=False).returncode:
        raise Failed(f"The database in {options.data} cannot be used.")

    django = Server("django", [port], [*manage, "runserver", "--noreload", f"{HOST}:{port}"])
    serve = [sys.executable, "-m", "snorky", "serve", str(here / "live.py")]
    serve += ["--host", HOST, "--port", str(snorky_port), "--backend-port", str(backend_port)]
    snorky = Server("snorky", [snorky_port, backend_port], serve)
    others = [Server(command, [], [*manage, command]) for command in workers]

    browser = options.browser and can_show_a_browser()
    with run_file(options.data / "run.json", settings):
        address = f"http://{HOST}:{port}/"
        asyncio.run(run(address, [snorky, django, *others], browser=browser))


def options_parser(here: Path, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Where a port is taken, another is used and said. 0 is any port.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8000, help="port of the page")
    parser.add_argument("--snorky-port", type=int, default=5001, help="port of Snorky, for pages")
    parser.add_argument("--backend-port", type=int, default=5002, help="port of Snorky, for Django")
    parser.add_argument("--data", type=Path, default=here / "data", help="folder of the database")
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="do not open a browser"
    )
    return parser


@contextlib.contextmanager
def no_more_settings(options: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Of a demo that needs nothing else to run."""
    yield {}


def main(
    here: Path,
    description: str | argparse.ArgumentParser,
    data_variable: str,
    workers: Sequence[str] = (),
    prepared: Callable[
        [argparse.Namespace], contextlib.AbstractContextManager[dict[str, str]]
    ] = no_more_settings,
) -> int:
    """Run the demo in the folder ``here``: its ``manage.py`` and its ``live.py``.

    ``data_variable`` tells its settings the folder of the database, in the environment. ``workers``
    are commands of ``manage.py`` that run beside the two servers. In the place of a description
    there may be the `options_parser`, with more options. ``prepared`` is around all of it,
    and gives what else its settings find in the environment.
    """
    if isinstance(description, str):
        description = options_parser(here, description)
    options = description.parse_args()
    try:
        refuse_second_run(options.data / "run.json")
        with prepared(options) as settings:
            demo(here, options, data_variable, workers, settings)
    except (asyncio.CancelledError, KeyboardInterrupt):
        say("The demo has stopped.")
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0
