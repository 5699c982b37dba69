"""Rows as triggers write them, shown as the API renders them: for a relay.

A row is made an instance by ``Model.from_db`` and rendered by its ``jsonify()``, alone: what would
need another row is refused, since that one may have changed by now. Lists that show such rows are
for refetching (``refetch = True``), and a change of theirs is told as a reset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, JSONField, Model

from snorky.backend.django import settings
from snorky.backend.django.registry import subscribable_models, table_of
from snorky.backend.django.rows import row_text

Represent = Callable[[Mapping[str, Any]], tuple[str, Any]]


class NeedsQueries(RuntimeError):
    """What a row shows is not in the row alone."""


def representations() -> dict[str, Represent]:
    """The function of each subscribable model's table: of a row of it to ``(model, data)``."""
    found: dict[str, Represent] = {}
    for name, model in subscribable_models().items():
        found.setdefault(table_of(model)._meta.db_table, _representation(name, model))
    return found


def _representation(name: str, model: type[Model]) -> Represent:
    fields = {str(field.column): field for field in model._meta.local_concrete_fields}
    if table_of(model) is not model:  # a proxy has none of its own
        fields = {str(field.column): field for field in model._meta.concrete_fields}
    whole = len(fields) == len(model._meta.concrete_fields)
    alias = settings.outbox_database()

    def represent(row: Mapping[str, Any]) -> tuple[str, Any]:
        if not whole:
            raise NeedsQueries(
                f"{name} has columns in the table of a parent, too: let its lists be refetched"
            )
        # In the order of the model's fields, which is how they are taken.
        known = [(field, row[column]) for column, field in fields.items() if column in row]
        values = [_python_value(field, value, connections[alias]) for field, value in known]
        with _queries_refused(name):
            instance = model.from_db(alias, [field.attname for field, _ in known], values)
            return name, json.loads(row_text(instance))

    return represent


def _python_value(field: Field[Any, Any], value: Any, connection: BaseDatabaseWrapper) -> Any:
    """The value of a column, given what a trigger wrote of it."""
    if value is None:
        return None
    if connection.vendor == "sqlite":  # its own values: text, numbers
        column: Any = field.get_col(field.model._meta.db_table)
        converters: Any = connection.ops.get_db_converters(column)
        for convert in [*converters, *column.get_db_converters(connection)]:
            value = convert(value, column, connection)
        return value
    return value if isinstance(field, JSONField) else field.to_python(value)


@contextmanager
def _queries_refused(name: str) -> Iterator[None]:
    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        raise NeedsQueries(
            f"a row of {name} needs another row to be rendered: let its lists be refetched, or say "
            f"by jsonify() what it is by itself ({sql[:100]})"
        )

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(refuse))
        yield
