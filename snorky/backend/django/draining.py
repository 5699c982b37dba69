"""The project's drainer: tells Snorky what the outbox of the ORM holds, where no relay does.

It uses the project's database on a connection of its thread, never that of a request.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import connections, transaction
from django.dispatch import receiver

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.django import settings
from snorky.backend.django.registry import subscribable_models
from snorky.backend.django.settings import project_json
from snorky.backend.draining.drainer import Drainer
from snorky.backend.draining.postgresql import PostgreSQLOutbox
from snorky.backend.draining.sqlite import SQLiteOutbox
from snorky.backend.draining.turns import Turns

ANSWER_SECONDS = 6.0  # longer than a wait for openings, shorter than a lease

_NAME = re.compile(r"(?<!:):(\w+)")


def make_turns() -> Turns:
    return Turns(_outbox(), _connect, settings.datasync_service(), settings.source())


def _connect() -> SnorkyBackend:
    url, key = settings.backend_url(), settings.api_key()
    transport = SnorkyHTTPTransport(url, key, timeout=ANSWER_SECONDS)
    return SnorkyBackend(transport, json=project_json)


def _outbox() -> Any:
    alias = settings.outbox_database()
    connection = connections[alias]
    if connection.vendor == "postgresql":
        return PostgreSQLOutbox(
            _transaction, lambda: connections[alias].close(), subscribable_models
        )
    file = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or "mode=memory" in file or file == ":memory:":
        raise ImproperlyConfigured(
            f"an outbox can be in PostgreSQL and in a file of SQLite, not in {alias!r}, "
            f"{connection.display_name} {file}"
        )
    return SQLiteOutbox(file, subscribable_models)


@contextmanager
def _transaction() -> Iterator[Any]:
    alias = settings.outbox_database()
    with transaction.atomic(alias), connections[alias].cursor() as cursor:

        def execute(sql: str, **parameters: Any) -> Any:
            cursor.execute(_NAME.sub(r"%(\1)s", sql), parameters or None)
            return cursor.fetchall() if cursor.description else []

        yield execute


drainer = Drainer(make_turns)


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    """Let ``override_settings`` in the project's tests reach a drainer that runs."""
    if setting.startswith("SNORKY_"):
        drainer.forget()
