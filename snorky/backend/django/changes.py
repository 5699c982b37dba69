"""Which rows a save or a deletion changes, and what they looked like before and after.

Rows are read from the database, not from the instance at hand: that one may lack fields, hold
unsaved values or expressions, or be of a subclass. The row before is read under a lock, so that
inside a transaction nobody changes it between the reading and the writing.

Seen are ``save()``, ``delete()`` and the rows that are deleted with others (``CASCADE``). Rows in
which a deletion changes a foreign key (``SET_NULL``, ``SET_DEFAULT``, ``SET``), and what
``QuerySet.update``, ``bulk_create``, many-to-many relations, fixtures and raw SQL do, send no
signals that tell the rows: where they are used, call `publish_deltas`.

Order: the changes of one thread are published in the order of its commits. Two threads, or two
processes, that change one row within the same milliseconds may publish the later change first,
since publishing follows the commit. Where that can happen let such writes take turns, as the to-do
demo does.
"""

from collections import deque
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.signals import class_prepared, post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver

from snorky.backend.django.publication import publish_deltas
from snorky.backend.django.settings import project_json

M = TypeVar("M", bound=Model)
Row = dict[str, Any]
Rows = dict[type[Model], Row | None]  # by the subscribable class; None: there is none

MAX_NESTED_SAVES = 8  # of one instance, by handlers of its own signals

# Models that hold rows -> the subscribable classes over those rows, proxies included.
_subscribable: dict[type[Model], list[type[Model]]] = {}


def subscribable(model: type[M]) -> type[M]:
    """Make a model publish its changes; on the wire its name is the class's.

    ``jsonify()`` of the model gives the row, as an object or as JSON text. A model without it
    gets one that renders as Django REST Framework does by default.
    """
    if model._meta.abstract:
        raise TypeError(
            f"{model.__name__} is abstract: make the models derived from it subscribable"
        )
    if not hasattr(model, "jsonify"):
        if find_spec("rest_framework") is None:
            raise ImproperlyConfigured(
                f"{model.__name__} needs a method jsonify(), or Django REST Framework installed"
            )
        setattr(model, "jsonify", _jsonify)  # noqa: B010 a name the model class has no type for
    table = _table(model)
    models = _subscribable.setdefault(table, [])
    if model not in models:
        models.append(model)
    for member in _family(table):
        _watch(member)
    return model


def _jsonify(self: Model) -> Row:
    """Return this row as Django REST Framework renders it."""
    # Here, since a project without Django REST Framework may have its own jsonify().
    from snorky.backend.django.serializers import default_serializer

    return dict(default_serializer(type(self))(self).data)


def _table(model: type[Model]) -> type[Model]:
    """The class that holds the rows of ``model``: itself, or what it is a proxy of."""
    table = model._meta.concrete_model
    assert table is not None, "only abstract models have none"
    return table


def _family(model: type[Model]) -> Iterator[type[Model]]:
    yield model
    for subclass in model.__subclasses__():
        yield from _family(subclass)


def _watch(model: type[Model]) -> None:
    # By sender: a receiver for all senders would cost every model its fast deletions.
    pre_save.connect(_before_save, sender=model, dispatch_uid="snorky")
    post_save.connect(_after_save, sender=model, dispatch_uid="snorky")
    pre_delete.connect(_before_delete, sender=model, dispatch_uid="snorky")
    post_delete.connect(_after_delete, sender=model, dispatch_uid="snorky")


@receiver(class_prepared)
def _watch_subclass(sender: type[Model], **_: Any) -> None:
    if any(table in _subscribable for table in sender.__mro__):
        _watch(sender)


def _before_save(sender: type[Model], instance: Model, raw: bool, using: str, **_: Any) -> None:
    # Raw is a fixture: its rows may refer to rows that are not there yet, so none is rendered.
    if not raw:
        rows = {}
        for model in _saved_models(sender):
            key = _key(instance, model)
            # No lock on what is not there: it would keep others from inserting beside it.
            new = instance._state.adding and not _rows(model, key, using).exists()
            rows[model] = None if new else _row(model, key, using, lock=True)
        _remember(instance, rows)


def _after_save(sender: type[Model], instance: Model, raw: bool, using: str, **_: Any) -> None:
    if not raw:
        rows = _recall(instance)
        after = {model: _row(model, _key(instance, model), using, lock=False) for model in rows}
        _publish(rows, after, using)


def _before_delete(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    # Django tells the deletion of a parent's row by itself.
    models = _subscribable.get(_table(sender), [])
    _remember(instance, {model: _row(model, instance.pk, using, lock=True) for model in models})


def _after_delete(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    rows = _recall(instance)
    _publish(rows, dict.fromkeys(rows), using)


def _saved_models(sender: type[Model]) -> list[type[Model]]:
    """The subscribable classes whose rows a save of ``sender`` writes, parents first."""
    return [model for table in reversed(sender.__mro__) for model in _subscribable.get(table, [])]


def _key(instance: Model, model: type[Model]) -> Any:
    """The primary key of the row of ``model`` that is part of ``instance``."""
    table, own = _table(model), _table(type(instance))
    if table is own:
        return instance.pk
    link = own._meta.get_ancestor_link(table)
    assert link is not None, f"{table} is a parent of {own}"
    key = getattr(instance, link.attname)
    # Django copies the one to the other while it saves.
    return getattr(instance, table._meta.pk.attname) if key is None else key


def _rows(model: type[Model], key: Any, using: str) -> QuerySet[Model]:
    # No manager of the model: it might hide rows, or join what cannot be locked.
    rows: QuerySet[Model] = QuerySet(model, using=using)
    incomplete = key is None or (isinstance(key, tuple) and None in key)
    return rows.none() if incomplete else rows.filter(pk=key)


def _row(model: type[Model], key: Any, using: str, *, lock: bool) -> Row | None:
    """Read a row as its page sees it; None if there is none."""
    rows = _rows(model, key, using)
    if lock and connections[rows.db].in_atomic_block:
        rows = _locked(rows, connections[rows.db])
    instance: Any = next(iter(rows), None)  # Any: models have no jsonify() to mypy
    if instance is None:
        return None
    value = instance.jsonify()
    # Encoded and decoded: a copy, of which we know that it can be sent.
    row = project_json.loads(value if isinstance(value, str | bytes) else project_json.dumps(value))
    if not isinstance(row, dict):
        raise TypeError(f"{model.__name__}.jsonify() must give an object, got {row!r:.100}")
    return row


def _locked(rows: QuerySet[Model], connection: BaseDatabaseWrapper) -> QuerySet[Model]:
    features = connection.features
    if features.has_select_for_update:
        # The lock an UPDATE takes: it lets others insert rows that refer to this one.
        return rows.select_for_update(no_key=features.has_select_for_no_key_update)
    if connection.vendor == "sqlite":
        # SQLite locks no rows. It fails a transaction that reads, then writes after somebody
        # else did; so take the write lock first, which waits. This writes nothing.
        meta = _table(rows.model)._meta
        quote = connection.ops.quote_name
        table, column = quote(meta.db_table), quote(str(meta.local_concrete_fields[0].column))
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET {column} = {column} WHERE 0")  # noqa: S608 names
    return rows


# A stack, since a handler of a signal may save the instance again. Bounded, since a save that
# fails never takes its rows back.


def _remember(instance: Model, rows: Rows) -> None:
    stack = instance.__dict__.setdefault("_snorky_rows", deque(maxlen=MAX_NESTED_SAVES))
    stack.append(rows)


def _recall(instance: Model) -> Rows:
    stack = instance.__dict__.get("_snorky_rows")
    rows = stack.pop() if stack else {}
    if not stack:
        instance.__dict__.pop("_snorky_rows", None)
    return rows


def _publish(before: Rows, after: Rows, using: str) -> None:
    deltas = [_delta(model.__name__, before[model], after[model]) for model in before]
    publish_deltas([delta for delta in deltas if delta], using)


def _delta(model: str, before: Row | None, after: Row | None) -> dict[str, Any] | None:
    if before is not None and after is not None:
        return {"type": "update", "model": model, "newData": after, "oldData": before}
    if after is not None:
        return {"type": "insert", "model": model, "data": after}
    if before is not None:
        return {"type": "delete", "model": model, "data": before}
    return None
