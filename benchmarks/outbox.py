"""What do triggers cost the application's writes, and how quick is the relay that reads them?

writes    a statement of many rows, without triggers and with them: microseconds for each row
writers   PostgreSQL: --writers clients update a row each, again and again: their rate with a relay
          awake and asleep, divided by their rate without triggers, in turns; and once more with
          commits that are on the disk, as applications have them
relay     rows a second from the outbox to the log of a server on the other core, one row a
          transaction; on PostgreSQL again with --dead rows deleted and an unrelated transaction
          open; memory of the relay in the end, and after a transaction of --large rows
latency   --rate writes a second: milliseconds from COMMIT until a page has its frame
recovery  the relay, the server (with its log in memory) and the database are killed: seconds until
          a page is live again and a write reaches it

The server and the relay are `snorky serve` and `snorky relay`; PostgreSQL is that of a wheel, with
fsync off but for the last figures of writers: a commit costs next to nothing, so that what is added
shows. SQLite is in WAL mode, synchronous=normal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import httpx2  # noqa: E402
import psycopg  # noqa: E402
from websockets.asyncio.client import connect  # noqa: E402

from snorky.backend.outbox import postgresql_triggers, sqlite_triggers  # noqa: E402
from tests.ports import free_port  # noqa: E402
from tests.servers import Postgres, run_postgres  # noqa: E402

TABLE = "(id integer PRIMARY KEY, title text, done boolean, due text, n real, project integer)"
ROW = "'A task of some length', {no}, '2026-11-28T10:00:00', 1.5, {number} % 10"
KEY = "swordfish"
LIVE = """
from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer
class Tasks(FilterDealer):
    model = "task"
datasync = DataSyncService("datasync", [Tasks], relay=True, lease=2)
frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
"""


class Sqlite:
    name = "SQLite"

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path
        self.connection = self.connect()
        self.connection.execute("PRAGMA journal_mode = wal")

    def connect(self) -> Any:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = normal")
        return connection

    def install(self) -> None:
        sqlite_triggers.install(self.connection, ["task"])

    def fill(self, rows: int) -> None:
        numbers = "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < ?)"
        row = ROW.format(no=0, number="i")
        self.connection.execute(f"INSERT INTO task {numbers} SELECT i, {row} FROM g", (rows,))


class Postgresql:
    name = "PostgreSQL"

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = self.connect()

    def connect(self) -> Any:
        return psycopg.connect(self.url, autocommit=True)

    def install(self) -> None:
        postgresql_triggers.install(self.connection, ["task"])

    def fill(self, rows: int) -> None:
        row = ROW.format(no=False, number="i")
        self.connection.execute(
            f"INSERT INTO task SELECT i, {row} FROM generate_series(1, {rows}) i"
        )


Database = Sqlite | Postgresql
MakeDatabase = Callable[[], Any]

ROUNDS = 3


class Programs:
    """A server and a relay, in processes of their own."""

    def __init__(self, folder: Path, url: str) -> None:
        self._file = folder / "live.py"
        self._file.write_text(LIVE)
        self.port, self._backend_port = free_port(), free_port()
        self.backend_url = f"http://127.0.0.1:{self._backend_port}/backend"
        self._url = url
        self.server: subprocess.Popen[str] | None = None
        self.relay: subprocess.Popen[str] | None = None

    def serve(self) -> None:
        ports = ["--port", str(self.port), "--backend-port", str(self._backend_port)]
        self.server = self._run("serve", str(self._file), *ports, "--log-level", "error")
        while True:
            try:
                httpx2.get(f"http://127.0.0.1:{self._backend_port}/live")
                return
            except httpx2.HTTPError:
                time.sleep(0.02)

    def start_relay(self) -> None:
        options = ["--backend-url", self.backend_url, "--lease", "2", "--log-level", "error"]
        self.relay = self._run("relay", self._url, *options)

    def wait_until_ready(self) -> None:
        assert self.relay is not None
        assert self.relay.stdout is not None
        line = self.relay.stdout.readline()
        assert line == "Relay ready\n", line

    def relay_megabytes(self) -> float:
        """The most that the relay has had."""
        assert self.relay is not None
        status = Path(f"/proc/{self.relay.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        for process in (self.relay, self.server):
            if process is not None:
                process.kill()
                process.communicate()

    def _run(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "snorky", *words],
            env={**os.environ, "SNORKY_API_KEY": KEY, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )


ALL, NONE = ["and"], ["==", "id", -1]


class Page:
    """A page with a list of rows. It comes back when it is cut."""

    def __init__(self, programs: Programs, query: Any = ALL) -> None:
        self._programs = programs
        self._query = query
        self.is_live = asyncio.Event()
        self.seen: dict[int, float] = {}
        """When the frame of each row came."""

    async def run(self) -> None:
        url = f"ws://127.0.0.1:{self._programs.port}/ws"
        while True:
            try:
                async with connect(url, proxy=None) as socket:
                    await self._open(socket)
                    async for text in socket:
                        self._heard(json.loads(text)["message"])
            except Exception:
                self.is_live.clear()
                await asyncio.sleep(0.02)

    async def _open(self, socket: Any) -> None:
        items = [{"dealer": "Tasks", "query": self._query}]
        call = {"command": "authorizeSubscription", "params": {"items": items}}
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.post(
                self._programs.backend_url,
                json={"service": "datasync_backend", "message": call},
                headers={"X-Backend-Key": KEY},
            )
        token = answer.json()["message"]["data"]
        params = {"subscriptions": [{"token": token}]}
        message = {"command": "openSubscriptions", "params": params, "callId": 1}
        await socket.send(json.dumps({"service": "datasync", "message": message}))

    def _heard(self, message: Any) -> None:
        now = time.perf_counter()
        match message["type"]:
            case "live":
                self.is_live.set()
            case "late":
                self.is_live.clear()
            case "resync":
                raise ConnectionError
            case "changes":
                for change in message["changes"]:
                    self.seen[change["key"]] = now


@contextmanager
def running(database: Database) -> Iterator[Programs]:
    with tempfile.TemporaryDirectory() as folder:
        programs = Programs(Path(folder), database.url)
        try:
            programs.serve()
            programs.start_relay()
            programs.wait_until_ready()
            yield programs
        finally:
            programs.stop()


def prepared(make: MakeDatabase, *, triggers: bool = True) -> Any:
    database = make()
    database.connection.execute(f"CREATE TABLE task {TABLE}")
    if triggers:
        database.install()
    return database


# What is measured


def writes(make: MakeDatabase, rows: int) -> dict[str, float]:
    """Microseconds that triggers add to each row of a statement; the best of three."""
    statements = {
        "insert": None,
        "update": "UPDATE task SET n = n + 1",
        "delete": "DELETE FROM task",
    }
    best: dict[tuple[str, bool], float] = {}
    for _ in range(3):
        for triggers in (False, True):
            database = prepared(make, triggers=triggers)
            for name, statement in statements.items():
                began = time.perf_counter()
                if statement is None:
                    database.fill(rows)
                else:
                    database.connection.execute(statement)
                took = (time.perf_counter() - began) / rows * 1e6
                best[name, triggers] = min(took, best.get((name, triggers), took))
            database.connection.close()
    return {f"{name}, us a row": best[name, True] - best[name, False] for name in statements}


def writers(make: MakeDatabase, count: int, seconds: float) -> dict[str, float]:
    """The rate of writers with triggers, as a part of the rate without; each three times."""
    databases = {
        "transactions a second without": prepared(make, triggers=False),
        "asleep all the time": prepared(make),
        "with a relay": prepared(make),
    }
    plain, asleep, relayed = databases
    for name, database in databases.items():
        database.fill(1000)
        if name != plain:
            database.connection.execute("TRUNCATE snorky_outbox")
    databases[asleep].connection.execute("SELECT setval('snorky_outbox_asleep', 1)")
    done = dict.fromkeys(databases, 0.0)
    with running(databases[relayed]) as programs:
        for _ in range(ROUNDS):
            for name, database in databases.items():
                done[name] += rate(database, count, seconds / ROUNDS)
            wait_for_key(databases[relayed], programs)  # it may be behind
    base = done[plain]
    return {plain: base / ROUNDS, asleep: done[asleep] / base, relayed: done[relayed] / base}


def rate(database: Database, count: int, seconds: float) -> float:
    done = [0] * count
    ends = time.perf_counter() + seconds

    def write(number: int) -> None:
        connection = database.connect()
        while time.perf_counter() < ends:
            connection.execute("UPDATE task SET n = n + 1 WHERE id = %s", (number + 1,))
            done[number] += 1
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / seconds


def relay_rate(
    make: MakeDatabase, rows: int, large: int, dead: int = 0, *, unrelated: bool = False
) -> dict[str, float]:
    """One row a transaction, all there before the relay looks; SQLite's are written meanwhile."""
    database = prepared(make)
    other = database.connect()
    if unrelated:
        other.execute("BEGIN")
        other.execute("CREATE TABLE unrelated ()")
    if dead:
        database.connection.execute(
            f"INSERT INTO snorky_outbox (model) SELECT 'none' FROM generate_series(1, {dead})"
        )
        database.connection.execute("DELETE FROM snorky_outbox")
    with running(database) as programs:
        assert programs.relay is not None
        postgresql = isinstance(database, Postgresql)
        if postgresql:
            os.kill(programs.relay.pid, signal.SIGSTOP)
        began = time.perf_counter()
        write_one_by_one(database, rows)
        if postgresql:
            began = time.perf_counter()
            os.kill(programs.relay.pid, signal.SIGCONT)
        wait_for_key(database, programs)
        took = time.perf_counter() - began
        megabytes = programs.relay_megabytes()
        if large:
            database.connection.execute("DELETE FROM task")
            database.fill(large)
            wait_for_key(database, programs)
        figures = {"rows a second": rows / took, "relay MB": megabytes}
        if large:
            figures[f"MB after {large:,} rows at once"] = programs.relay_megabytes()
    other.close()
    return figures


def write_one_by_one(database: Database, rows: int) -> None:
    mark = "?" if isinstance(database, Sqlite) else "%s"
    no = 0 if isinstance(database, Sqlite) else False
    statement = f"INSERT INTO task VALUES ({mark}, {ROW.format(no=no, number=1)})"
    statement = statement.replace(" % ", " %% " if mark == "%s" else " % ")
    for number in range(rows):
        database.connection.execute(statement, (number,))


def wait_for_key(database: Database, programs: Programs) -> None:
    """Wait until all that was committed is in the log."""

    async def wait() -> None:
        page = Page(programs, NONE)  # what it is sent would be measured as well
        task = asyncio.create_task(page.run())
        await page.is_live.wait()  # after a pass that began later
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(wait())


def latency(make: MakeDatabase, count: int, each_second: float) -> dict[str, float]:
    database = prepared(make)
    with running(database) as programs:
        return asyncio.run(_latency(database, programs, count, each_second))


async def _latency(
    database: Database, programs: Programs, count: int, each_second: float
) -> dict[str, float]:
    page = Page(programs)
    task = asyncio.create_task(page.run())
    await page.is_live.wait()
    committed: dict[int, float] = {}

    def write() -> None:
        # By the clock, not by pauses: they would add up with what a write takes.
        began = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, began + number / each_second - time.perf_counter()))
            database.connection.execute(f"INSERT INTO task (id, n) VALUES ({number}, 1)")
            committed[number] = time.perf_counter()

    await asyncio.to_thread(write)
    while len(page.seen) < count:  # noqa: ASYNC110  # a millisecond or ten do not matter here
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = sorted((page.seen[number] - at) * 1e3 for number, at in committed.items())
    return {"p50 ms": found[count // 2], "p99 ms": found[int(count * 0.99) - 1]}


def recovery(make: MakeDatabase, postgres: Postgres | None) -> dict[str, float]:
    database = prepared(make)
    with running(database) as programs:
        return asyncio.run(_recovery(database, programs, postgres))


async def _recovery(
    database: Database, programs: Programs, postgres: Postgres | None
) -> dict[str, float]:
    page = Page(programs)
    task = asyncio.create_task(page.run())
    await page.is_live.wait()

    def kill_relay() -> None:
        assert programs.relay is not None
        programs.relay.kill()
        programs.relay.communicate()
        programs.start_relay()

    def kill_server() -> None:
        assert programs.server is not None
        programs.server.kill()
        programs.server.communicate()
        programs.serve()

    def kill_database() -> None:
        assert postgres is not None
        postgres.stop(abruptly=True)
        postgres.start()
        database.connection = database.connect()

    kills = {"relay": kill_relay, "server": kill_server}
    if postgres is not None:
        kills["database"] = kill_database
    figures = {}
    for number, (name, kill) in enumerate(kills.items()):
        began = time.perf_counter()
        await asyncio.to_thread(kill)
        database.connection.execute(f"INSERT INTO task (id, n) VALUES ({number}, 1)")
        while not page.is_live.is_set() or (  # noqa: ASYNC110
            number not in page.seen and name != "server"
        ):
            await asyncio.sleep(0.01)
        figures[f"{name}, s"] = time.perf_counter() - began
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--dead", type=int, default=200_000)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=9.0)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--writes", type=int, default=2000)
    parser.add_argument("--only", nargs="*", metavar="NAME")
    parser.add_argument("--databases", nargs="*", default=["SQLite", "PostgreSQL"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, run_postgres() as postgres:
        databases = {"SQLite": sqlite_maker(Path(folder)), "PostgreSQL": maker(postgres)}
        for name in options.databases:
            measure(name, databases[name], postgres, options)
    if "PostgreSQL" in options.databases and is_wanted("writers", options):
        with run_postgres(fsync="on") as durable:
            show("PostgreSQL, writers, fsync on", writers_of(maker(durable), options))


def measure(name: str, make: MakeDatabase, postgres: Postgres, options: Any) -> None:
    is_postgresql = name == "PostgreSQL"
    rows, large = options.rows, options.large
    work: dict[str, Callable[[], dict[str, float]]] = {
        "writes": lambda: writes(make, rows),
        "relay": lambda: relay_rate(make, rows, large),
        "latency": lambda: latency(make, options.writes, options.rate),
        "recovery": lambda: recovery(make, postgres if is_postgresql else None),
    }
    if is_postgresql:
        work["writers"] = lambda: writers_of(make, options)
        work["relay, dead rows"] = lambda: relay_rate(make, rows, 0, options.dead, unrelated=True)
    for title, measured in work.items():
        if is_wanted(title, options):
            show(f"{name}, {title}", measured())


def writers_of(make: MakeDatabase, options: Any) -> dict[str, float]:
    return writers(make, options.writers, options.seconds)


def is_wanted(title: str, options: Any) -> bool:
    return not options.only or title.split(",")[0] in options.only


def show(title: str, figures: dict[str, float]) -> None:
    print(f"{title}: {', '.join(f'{key}: {value:,.2f}' for key, value in figures.items())}")


def sqlite_maker(folder: Path) -> MakeDatabase:
    numbers = iter(range(1_000_000))
    return lambda: Sqlite(folder / f"{next(numbers)}.sqlite")


def maker(postgres: Postgres) -> MakeDatabase:
    numbers = iter(range(1_000_000))

    def make() -> Postgresql:
        postgres.start()
        name = f"outbox_{next(numbers)}"
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return Postgresql(postgres.url(name))

    return make


if __name__ == "__main__":
    main()
