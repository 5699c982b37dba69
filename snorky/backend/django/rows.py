"""Rows as pages see them: read from the database, rendered, encoded once.

Never from the instance at hand: that one may lack fields, hold unsaved values or expressions, or be
of a subclass. A row is rendered in one language and one time zone, whoever writes it: all who hear
of it get the same text, and a list and the changes of its rows agree.
"""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.utils import timezone, translation

from snorky.backend.django.registry import table_of, wire_name
from snorky.backend.django.settings import project_json
from snorky.backend.exchange import snorky_log

LARGEST_EXACT_INTEGER = 2**53  # of JavaScript

_warned_of: set[type[Model]] = set()


@contextmanager
def same_for_all() -> Iterator[None]:
    """Render in UTC and in the project's language, whatever the user of this thread prefers."""
    with timezone.override(datetime.UTC), translation.override(settings.LANGUAGE_CODE):
        yield


def rows_by_key(model: type[Model], key: Any, using: str) -> QuerySet[Model]:
    """The one row that has this primary key; none where the key is not complete yet."""
    # No manager of the model: it might hide rows, or join what cannot be locked.
    rows: QuerySet[Model] = QuerySet(model, using=using)
    incomplete = key is None or (isinstance(key, tuple) and None in key)
    return rows.none() if incomplete else rows.filter(pk=key)


def rows_by(model: type[Model], lookup: str, key: Any, using: str) -> QuerySet[Model]:
    """The rows of ``model`` for which ``lookup`` gives the row with this key."""
    return QuerySet(model, using=using).filter(**{f"{lookup}__pk": key})


def read_row(rows: QuerySet[Model], *, lock: bool = False) -> str | None:
    """The text of the one row there is, or None. In a transaction it can be locked."""
    if lock and connections[rows.db].in_atomic_block:
        rows = locked(rows, connections[rows.db])
    instance = next(iter(rows), None)
    return None if instance is None else row_text(instance)


def row_text(instance: Model) -> str:
    """The JSON of a row, an object. Raises TypeError where ``jsonify()`` gives something else."""
    with same_for_all():
        value = instance.jsonify()  # type: ignore[attr-defined]  # `subscribable` sees to it
        if isinstance(value, str | bytes):
            value = project_json.loads(value)
        text = project_json.dumps(value)
    model = type(instance)
    if not text.startswith("{"):
        raise TypeError(f"{model.__name__}.jsonify() must give an object, got {text:.100}")
    key = instance.pk
    if isinstance(key, int) and abs(key) > LARGEST_EXACT_INTEGER and model not in _warned_of:
        _warned_of.add(model)
        snorky_log.warning(
            "%s has keys past 2**53, such as %d, which JavaScript rounds: rows that pages cannot "
            "tell apart. Render them as text: jsonify(), or COERCE_BIGINT_TO_STRING",
            wire_name(model),
            key,
        )
    return text


def locked(rows: QuerySet[Model], connection: BaseDatabaseWrapper) -> QuerySet[Model]:
    """The same rows, which nobody else will change before this transaction has ended."""
    features = connection.features
    if features.has_select_for_update:
        of = ("self",) if features.has_select_for_update_of else ()
        # The lock an UPDATE takes: it lets others insert rows that refer to this one.
        return rows.select_for_update(of=of, no_key=features.has_select_for_no_key_update)
    if connection.vendor == "sqlite":
        # SQLite locks no rows. It fails a transaction that reads, then writes after somebody
        # else did; so take the write lock first, which waits. This writes nothing.
        meta = table_of(rows.model)._meta
        # Not a generated one: those cannot be written, not even so.
        name = next(f.column for f in meta.local_concrete_fields if not _is_generated(f))
        quote = connection.ops.quote_name
        table, column = quote(meta.db_table), quote(str(name))
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET {column} = {column} WHERE 0")  # noqa: S608 names
    return rows


def _is_generated(field: Any) -> bool:
    return bool(field.generated)
