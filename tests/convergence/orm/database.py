"""Databases whose outbox an ORM writes. Triggers of the test note what each transaction changed."""

from __future__ import annotations

import json
from typing import Any

from snorky.backend.outbox.table import create_postgresql, create_sqlite
from tests.convergence.databases import MODELS, Postgresql, Sqlite
from tests.convergence.told import Changes

NAME_THE_KEY = "UPDATE changed SET key = {} WHERE key IS NULL"
"""By which a transaction is told: said by itself, at its end. Of others it sees none without."""

_COLUMNS = "key text, model text, id integer, data text"
_NOTE = "INSERT INTO changed (model, id, data) VALUES"


class OrmSqlite(Sqlite):
    def prepare(self, connection: Any) -> None:
        connection.execute(f"CREATE TABLE changed (number integer PRIMARY KEY, {_COLUMNS})")
        for statement in create_sqlite():
            connection.execute(statement)
        row = "json_object('id', NEW.id, 'color', NEW.color, 'n', NEW.n, 'team', NEW.team)"
        for model in MODELS:
            gone = f"{_NOTE} ('{model}', OLD.id, NULL);"
            there = f"{_NOTE} ('{model}', NEW.id, {row});"
            for event, notes in (
                ("INSERT", there),
                ("UPDATE", gone + there),
                ("DELETE", gone),
            ):
                connection.execute(
                    f'CREATE TRIGGER note_{model}_{event} AFTER {event} ON "{model}"'
                    f" BEGIN {notes} END"
                )

    def committed(self, connection: Any) -> dict[str, Changes]:
        return _committed(connection)


class OrmPostgresql(Postgresql):
    def prepare(self, connection: Any) -> None:
        connection.execute(
            f"CREATE TABLE changed (number bigint GENERATED ALWAYS AS IDENTITY, {_COLUMNS})"
        )
        connection.execute("CREATE INDEX ON changed (number) WHERE key IS NULL")
        connection.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF TG_OP <> 'INSERT' THEN {_NOTE} (TG_ARGV[0], OLD.id, NULL); END IF;"
            f" IF TG_OP <> 'DELETE' THEN {_NOTE} (TG_ARGV[0], NEW.id, row_to_json(NEW)); END IF;"
            " RETURN NULL; END $$"
        )
        for model in MODELS:
            connection.execute(
                f'CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON "{model}"'
                f" FOR EACH ROW EXECUTE FUNCTION note('{model}')"
            )
        with connection.transaction():
            for statement in create_postgresql("public"):
                connection.execute(statement)

    def committed(self, connection: Any) -> dict[str, Changes]:
        return _committed(connection)


def _committed(connection: Any) -> dict[str, Changes]:
    found: dict[str, Changes] = {}
    for key, model, number, data in connection.execute(
        "SELECT key, model, id, data FROM changed ORDER BY number"
    ).fetchall():
        assert key is not None, "a transaction has no key"
        found.setdefault(key, []).append((model, number, data and json.loads(data)))
    return found
