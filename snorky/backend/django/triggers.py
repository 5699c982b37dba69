"""Triggers on the tables of models, installed with the project's own connections.

::

    from snorky.backend.django.triggers import SnorkyTriggers

    class Migration(migrations.Migration):
        dependencies = [("tasks", "0001_initial"), ("snorky", "0001_outbox")]
        operations = [SnorkyTriggers("Task", "Project")]        # models of this app

The operation belongs into a migration after each that changes columns, too: triggers that do not
know a column tell each change as a reset, and `manage.py snorky_triggers status` says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.models import Model

from snorky.backend.django import registry
from snorky.backend.django.schema import make_outbox
from snorky.backend.outbox import postgresql_triggers, sqlite_triggers


class SnorkyTriggers(Operation):
    """Install the triggers of models of the migration's app; backwards, remove them."""

    reversible = True
    """Backwards the triggers are removed; the outbox stays."""

    reduces_to_sql = False
    """``sqlmigrate`` does not show them."""

    def __init__(self, models: str | Sequence[str], *more: str) -> None:
        self.models = [*([models] if isinstance(models, str) else models), *more]

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return (type(self).__name__, [self.models], {})

    def describe(self) -> str:
        return f"Let triggers tell what changes in {', '.join(self.models)}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models are as they were."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        self._run("install", app_label, schema_editor, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        self._run("remove", app_label, schema_editor, from_state)

    def _run(self, what: str, app_label: str, schema_editor: Any, state: Any) -> None:
        connection = schema_editor.connection
        models = [state.apps.get_model(app_label, name) for name in self.models]
        models = [model for model in models if router.allow_migrate_model(connection.alias, model)]
        if models:
            connection.ensure_connection()
            tables = [model._meta.db_table for model in models]
            own, module = own_connection(connection)
            if what == "install":
                module.install(own, tables)
            else:
                remove_triggers(connection, tables)


def own_connection(connection: BaseDatabaseWrapper) -> tuple[Any, Any]:
    """The driver's connection within Django's, and the module that installs triggers by it.

    What it does is a part of the transaction under way. Raises ImproperlyConfigured.
    """
    own: Any = connection.connection
    if connection.vendor == "sqlite":
        return _Savepoints(own) if connection.in_atomic_block else own, sqlite_triggers
    if connection.vendor != "postgresql" or type(own).__module__.partition(".")[0] != "psycopg":
        raise ImproperlyConfigured(
            f"triggers are for PostgreSQL, by psycopg 3, and for SQLite; {connection.alias!r} is "
            f"{connection.display_name}"
        )
    return own, postgresql_triggers


def remove_triggers(connection: BaseDatabaseWrapper, tables: Sequence[str]) -> None:
    """Remove the triggers of tables, and leave the outbox. Raises InstallationError."""
    own, module = own_connection(connection)
    module.remove(own, tables)
    # The last triggers take the outbox with them, which this app's migration made.
    make_outbox(connection)


class _Savepoints:
    """A connection of SQLite whose transactions are parts of the one under way."""

    _INSTEAD = {
        "BEGIN IMMEDIATE": "SAVEPOINT snorky",
        "COMMIT": "RELEASE snorky",
        "ROLLBACK": "ROLLBACK TO snorky",
    }

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self._connection.execute(self._INSTEAD.get(sql, sql), *parameters)


def models_named(names: Sequence[str]) -> list[type[Model]]:
    """The subscribable models of these names, or as ``app.Model``; all without any.

    With the parents of each that are of several tables. Raises CommandError.
    """
    known = registry.subscribable_models()
    if not names:
        if not known:
            raise CommandError("There are no subscribable models: name some, app.Model.")
        return _with_parents(known.values())
    chosen = []
    for name in names:
        if name in known:
            chosen.append(known[name])
            continue
        try:
            chosen.append(apps.get_model(name))
        except (LookupError, ValueError) as error:
            text = ", ".join(sorted(known)) or "none"
            raise CommandError(
                f"There is no model {name}; expected one of {text}, or app.Model"
            ) from error
    return _with_parents(chosen)


def _with_parents(models: Iterable[type[Model]]) -> list[type[Model]]:
    tables = [table for model in models for table in registry.tables_written_by(model)]
    return list(dict.fromkeys(tables))
