"""Every test finds the databases running and empty, whatever the one before did to them."""

from __future__ import annotations

import psycopg
import pytest
import valkey as valkey_client

from tests.servers import Postgres, Valkey


@pytest.mark.parametrize("time", ["first", "again"])
def test_each_test_has_an_empty_database_of_its_own(
    postgres_url: str, postgres_server: Postgres, time: str
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE things (id int)")
        connection.execute("INSERT INTO things VALUES (1)")
    postgres_server.restart()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (1,)
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
        connection.execute("SELECT pg_create_logical_replication_slot('a', 'pgoutput')")
    postgres_server.stop(abruptly=True)


@pytest.mark.parametrize("time", ["first", "again"])
def test_each_test_has_an_empty_valkey(valkey: Valkey, time: str) -> None:
    with valkey_client.from_url(valkey.url) as client:
        assert client.dbsize() == 0
        client.set("name", "value")
    valkey.stop(abruptly=True)
    assert not valkey.running
    valkey.restart()
    with valkey_client.from_url(valkey.url) as client:
        assert client.dbsize() == 0
        client.set("name", "value")
    valkey.stop()
