"""Databases as a relay sees them: how to connect, who reads, and how to wait for a change."""

from __future__ import annotations

import select
import socket
import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from time import monotonic, time
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from snorky.backend.outbox import sqlite_reader
from snorky.backend.outbox.installation import InstallationError
from snorky.backend.outbox.reading import Lost, Reader, Rendering
from snorky.backend.outbox.table import CHANNEL

LOOK_SECONDS = 1.0
"""A relay looks so often whatever happens: what should have woken it may be lost."""

POLL_SECONDS = 0.004
FRESH_SECONDS = 0.02
"""A file's time of change is rounded: what came right after may have the same."""

LOOK_AGAIN_SECONDS = 0.003
AWAKE_SECONDS = 0.25
"""How long a relay of PostgreSQL looks again and again after the last change, before it sleeps."""


class Wake:
    """Lets a thread that waits go on."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        return self._receiver.fileno()

    def set(self) -> None:
        try:
            self._sender.send(b"!")
        except (BlockingIOError, OSError):
            pass  # it is awake, or has gone

    def wait(self, seconds: float, *others: Any) -> list[Any]:
        """Wait until it is set, one of ``others`` can be read, or so long. Returns the latter."""
        ready, _, _ = select.select([self, *others], [], [], max(0.0, seconds))
        if self in ready:
            ready.remove(self)
            while True:
                try:
                    self._receiver.recv(4096)
                except BlockingIOError:
                    break
        return ready

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()


class Source(ABC):
    """A database with an outbox."""

    errors: tuple[type[Exception], ...]
    """What it raises where the database is away, or is not what was expected."""

    @abstractmethod
    def connect(self) -> None: ...

    @abstractmethod
    def reader(self, rendering: Rendering, place: Any) -> Reader: ...

    @abstractmethod
    def wait(self, wake: Wake, seconds: float, *, busy: bool) -> None:
        """Return when there may be something to read, ``wake`` is set, or after so long.

        ``busy``: something has been read just now.
        """

    @abstractmethod
    def close(self) -> None: ...


class SqliteSource(Source):
    """A file. It is opened read-only; a relay does nothing that another connection waits for."""

    errors = (sqlite3.Error, OSError, Lost)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._seen: Any = None

    def connect(self) -> None:
        self._inode = self._path.stat().st_ino
        self._connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=ro", uri=True, isolation_level=None, timeout=5
        )
        self._has_version = self._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"

    def reader(self, rendering: Rendering, place: Any) -> Reader:
        assert self._connection is not None
        return sqlite_reader.SqliteReader(self._connection, rendering, place)

    def wait(self, wake: Wake, seconds: float, *, busy: bool) -> None:
        ends = monotonic() + seconds
        while monotonic() < ends:
            if self._has_changed():
                return
            woken = select.select([wake], [], [], POLL_SECONDS)[0]
            if woken:
                wake.wait(0)
                return

    def _has_changed(self) -> bool:
        assert self._connection is not None
        stat = self._path.stat()
        if stat.st_ino != self._inode:
            raise Lost("The file is another one")
        if self._has_version:
            now: Any = self._connection.execute("PRAGMA data_version").fetchone()[0]
        else:
            # Asking SQLite would lock the file, for a moment, again and again.
            fresh = monotonic() if time() - stat.st_mtime < FRESH_SECONDS else 0
            now = stat.st_mtime_ns, stat.st_size, fresh
        changed, self._seen = now != self._seen, now
        return bool(changed)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresqlSource(Source):
    """PostgreSQL, at an address of libpq's."""

    def __init__(self, url: str) -> None:
        psycopg = _psycopg()
        self.errors = (psycopg.Error, OSError, Lost)
        self._url = url
        self._connection: Any = None
        self._asleep = False
        self._notified = False
        self._busy_until = 0.0
        self._reader: Any = None

    def connect(self) -> None:
        connection = _psycopg().connect(
            self._url, autocommit=True, connect_timeout=10, application_name="snorky relay"
        )
        self._connection = connection
        # Few rows among many that are dead: always by the index, and without planning it anew.
        connection.execute(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off;"
            " SET plan_cache_mode = force_generic_plan"
        )
        # What is deleted need not be on the disk at once: the log knows the keys of what is back.
        connection.execute("SET synchronous_commit = off")
        self._check_address(connection)
        connection.add_notify_handler(self._note)
        connection.execute(f"LISTEN {CHANNEL}")

    def _check_address(self, connection: Any) -> None:
        """Raises Lost behind a pooler that gives each transaction another connection."""
        found = {connection.execute("SELECT pg_backend_pid()").fetchone()[0] for _ in range(3)} | {
            connection.info.backend_pid
        }
        if len(found) > 1 or connection.info.backend_pid == 0:
            raise Lost(
                "The relay needs the database's own address, or a pooler in session mode: "
                "this one hands its statements to several connections"
            )

    def reader(self, rendering: Rendering, place: Any) -> Reader:
        from snorky.backend.outbox.postgresql_reader import PostgresqlReader

        self._reader = PostgresqlReader(self._connection, rendering, place)
        self._flag = f"SELECT setval('{self._reader.literal}.snorky_outbox_asleep'::regclass, {{}})"
        self._sleep(asleep=False)
        return self._reader  # type: ignore[no-any-return]

    def wait(self, wake: Wake, seconds: float, *, busy: bool) -> None:
        now = monotonic()
        if busy:
            self._busy_until = now + AWAKE_SECONDS
        if now < self._busy_until or self._reader.low_water.expects(LOOK_SECONDS):
            if self._asleep:
                self._sleep(asleep=False)
            wake.wait(LOOK_AGAIN_SECONDS)
        elif not self._asleep:
            self._sleep(asleep=True)  # what came before the flag was seen is found by a last look
        elif not self._notified:
            wake.wait(seconds, self._connection)
            # What is read here is handed to ``_note``; an end of the connection is raised.
            self._connection.execute("SELECT 1")
        if self._notified:
            self._notified = False
            self._busy_until = monotonic() + AWAKE_SECONDS

    def _sleep(self, *, asleep: bool) -> None:
        self._notified = False
        self._connection.execute(self._flag.format(int(asleep)))
        self._asleep = asleep

    def _note(self, notification: Any) -> None:
        self._notified = True

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if self._asleep and not connection.broken:
                    connection.execute(self._flag.format(0))  # nobody listens any more
            except self.errors:
                pass
            self._asleep = False
            connection.close()


def source_of(url: str) -> Source:
    """The database at an address. Raises ValueError, and InstallationError without psycopg."""
    path = sqlite_path(url)
    return PostgresqlSource(url) if path is None else SqliteSource(path)


def sqlite_path(url: str) -> Path | None:
    """The file of an address of SQLite; None for one of PostgreSQL. Raises ValueError."""
    scheme, _, rest = url.partition(":")
    if scheme in ("postgresql", "postgres"):
        return None
    if scheme == "sqlite" and rest.startswith("///") and len(rest) > 3 and "?" not in rest:
        return Path(unquote(rest[3:]))
    shown = urlsplit(url).scheme or url
    raise ValueError(
        "Expected a database's address, sqlite:////absolute/path or postgresql://...; "
        f"got {shown!r:.40}."
    )


def connect(url: str) -> tuple[Any, Any]:
    """A connection for installing, and the module that does it. Raises InstallationError."""
    path = sqlite_path(url)
    if path is not None:
        from snorky.backend.outbox import sqlite_triggers

        if not path.exists():
            raise InstallationError(f"There is no file {path}.")
        return sqlite3.connect(path, isolation_level=None, timeout=30), sqlite_triggers
    from snorky.backend.outbox import postgresql_triggers

    return _psycopg().connect(url, autocommit=True, connect_timeout=10), postgresql_triggers


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise InstallationError(
            'PostgreSQL needs psycopg: pip install "snorky[postgres]"'
        ) from error
    return psycopg
