"""PostgreSQL 16, where all other tests have the newest; see ``SNORKY_TEST_POSTGRES`` for others."""

from __future__ import annotations

from collections.abc import Callable

from snorky.backend.outbox import keys
from tests.outbox.databases import PostgresqlDatabase, delete, insert, reset, update
from tests.outbox.snorky import RunningRelay, Snorky, wait_until
from tests.servers import run_postgres


def test_an_older_postgresql_tells_the_same(
    snorky: Snorky, relay: Callable[..., RunningRelay]
) -> None:
    with run_postgres(16) as server, server.database() as url:
        database = PostgresqlDatabase(url)
        assert database.connection.info.server_version // 10_000 == 16
        database.execute(
            "CREATE TABLE task (id integer PRIMARY KEY, n integer) PARTITION BY HASH (id)",
            "CREATE TABLE task_0 PARTITION OF task FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        )
        database.install("task")
        running = relay(database).wait_until_ready()
        database.execute("BEGIN", "INSERT INTO task VALUES (1, 1)", "UPDATE task SET n = 2")
        (key,) = keys(database.connection)
        database.execute("COMMIT", "DELETE FROM task", "TRUNCATE task")
        one, two = {"id": 1, "n": 1}, {"id": 1, "n": 2}
        whole = [
            [insert("task", **one), update("task", one, two)],
            [delete("task", **two)],
            [reset("task"), reset("task")],
        ]
        wait_until(lambda: snorky.deltas == whole)
        assert key in snorky.keys
        running.stop()
        database.close()
