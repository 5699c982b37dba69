"""Which rows a save or a deletion changes, and what they looked like before and after.

The row before is read under a lock, and every save is a transaction, so nobody changes it between
the reading and the writing.

Seen are ``save()``, ``delete()`` and the rows that are deleted with others (``CASCADE``); of a
parent in multi-table inheritance, its children's rows; of a row that a model ``follows``, the rows
that show it. What ``QuerySet.update``, ``bulk_create``, many-to-many relations, fixtures and raw
SQL do, sends no signals that tell the rows: where they are used, call `publish_deltas` or
`reset_models`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.db.models import Model, QuerySet
from django.db.models.signals import class_prepared, post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver

from snorky.backend.django import registry, settings
from snorky.backend.django.publication import publish
from snorky.backend.django.rows import read_row, row_text, rows_by, rows_by_key
from snorky.backend.entries import Change

M = TypeVar("M", bound=Model)

MAX_NESTED_SAVES = 8  # of one instance, by handlers of its own signals
MAX_DEPENDENTS = 1_000  # more change with one row than are told one by one


class Before(NamedTuple):
    """What a write is about to change. ``others`` are rows that change with it, by their keys."""

    own: dict[type[Model], str | None]
    others: dict[type[Model], dict[Any, str]]
    too_many: set[type[Model]]


@overload
def subscribable(model: type[M]) -> type[M]: ...


@overload
def subscribable(
    *, name: str | None = None, follows: Sequence[str] = ()
) -> Callable[[type[M]], type[M]]: ...


def subscribable(
    model: type[M] | None = None, *, name: str | None = None, follows: Sequence[str] = ()
) -> type[M] | Callable[[type[M]], type[M]]:
    """Make a model publish its changes; on the wire its name is the class's, or ``name``.

    ``jsonify()`` of the model gives the row, as an object or as JSON text. A model without it
    gets one that renders as Django REST Framework does by default.

    ``follows`` are foreign keys, such as ``["project", "project__team"]``, whose rows are shown in
    those of this model or decide who sees them: where one changes, so do the rows that refer to it.
    They are read before and after; from 1,000 of them on pages are told to fetch their lists again.
    """
    if model is None:
        return lambda model: _subscribable(model, name, follows)
    return _subscribable(model, name, follows)


def _subscribable(model: type[M], name: str | None, follows: Sequence[str]) -> type[M]:
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
    registry.register(model, name or model.__name__)
    for member in registry.relatives_of(registry.table_of(model)):
        _watch(member)
    for lookup in follows:
        registry.follow(model, lookup, _watch, many_to_many=settings.outbox() == "orm")
    return model


def _jsonify(self: Model) -> dict[str, Any]:
    """Return this row as Django REST Framework renders it."""
    # Here, since a project without Django REST Framework may have its own jsonify().
    from snorky.backend.django.serializers import rendered

    return rendered(self)


def _watch(model: type[Model]) -> None:
    # By sender: a receiver for all senders would cost every model its fast deletions.
    pre_save.connect(_before_save, sender=model, dispatch_uid="snorky")
    post_save.connect(_after_save, sender=model, dispatch_uid="snorky")
    pre_delete.connect(_before_delete, sender=model, dispatch_uid="snorky")
    post_delete.connect(_after_delete, sender=model, dispatch_uid="snorky")
    _save_in_transactions(model)


@receiver(class_prepared)
def _watch_subclass(sender: type[Model], **_: Any) -> None:
    if not sender._meta.abstract and registry.is_concerned(sender):
        _watch(sender)


def _save_in_transactions(model: type[Model]) -> None:
    """Let saves outside a transaction be one, as deletions are: reading, writing and publishing."""
    save_base: Any = model.save_base  # Any: to mypy it has no such attribute, nor our arguments
    if hasattr(save_base, "of_snorky"):
        return  # a parent's

    @wraps(save_base)
    def save_in_transaction(
        self: Model, *args: Any, using: str | None = None, **kwargs: Any
    ) -> None:
        using = using or router.db_for_write(type(self), instance=self)
        if transaction.get_connection(using).in_atomic_block:
            save_base(self, *args, using=using, **kwargs)
            return
        with transaction.atomic(using):
            save_base(self, *args, using=using, **kwargs)

    setattr(save_in_transaction, "of_snorky", True)  # noqa: B010 functions have no such attribute
    setattr(model, "save_base", save_in_transaction)  # noqa: B010 mypy knows no other signature


def _before_save(sender: type[Model], instance: Model, raw: bool, using: str, **_: Any) -> None:
    # Raw is a fixture: its rows may refer to rows that are not there yet, so none is rendered.
    if raw or settings.has_outbox(using):
        return
    own: dict[type[Model], str | None] = {}
    for table in registry.tables_written_by(sender):
        for model in registry.classes_over(table):
            rows = rows_by_key(model, _key(instance, table), using)
            # No lock on what is not there: it would keep others from inserting beside it.
            new = instance._state.adding and not rows.exists()
            own[model] = None if new else read_row(rows, lock=True)
    _remember(instance, _with_others(own, sender, instance, using))


def _after_save(sender: type[Model], instance: Model, raw: bool, using: str, **_: Any) -> None:
    before = None if raw or settings.has_outbox(using) else _recall(instance)
    if before is None:
        return
    after = {}
    for model in before.own:
        key = _key(instance, registry.table_of(model))
        after[model] = read_row(rows_by_key(model, key, using))
    publish(_changes(before, after, using), using)


def _before_delete(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    if settings.has_outbox(using):
        return
    # Django tells the deletion of a parent's row by itself.
    table = registry.table_of(sender)
    own = {
        model: read_row(rows_by_key(model, instance.pk, using), lock=True)
        for model in registry.classes_over(table)
    }
    _remember(instance, _with_others(own, sender, instance, using, tables=[table]))


def _after_delete(sender: type[Model], instance: Model, using: str, **_: Any) -> None:
    before = None if settings.has_outbox(using) else _recall(instance)
    if before is not None:
        publish(_changes(before, dict.fromkeys(before.own), using), using)


def _key(instance: Model, table: type[Model]) -> Any:
    """The primary key of the row of ``table`` that is part of ``instance``."""
    own = registry.table_of(type(instance))
    if table is own:
        return instance.pk
    link = own._meta.get_ancestor_link(table)
    assert link is not None, f"{table} is a parent of {own}"
    key = getattr(instance, link.attname)
    # Django copies the one to the other while it saves.
    return getattr(instance, table._meta.pk.attname) if key is None else key


def _with_others(
    own: dict[type[Model], str | None],
    sender: type[Model],
    instance: Model,
    using: str,
    tables: Sequence[type[Model]] | None = None,
) -> Before:
    """Add the rows that change with those of ``instance``, where it is in the database already."""
    before = Before(own, {}, set())
    for table in registry.tables_written_by(sender) if tables is None else tables:
        key = _key(instance, table)
        for model, lookup in registry.dependents_of(sender, table):
            if key is None or model in before.too_many:
                continue
            rows = rows_by(model, lookup, key, using)
            found = list(rows[: MAX_DEPENDENTS + 1])
            if len(found) > MAX_DEPENDENTS:
                before.too_many.add(model)
            else:
                texts = before.others.setdefault(model, {})
                texts.update((row.pk, row_text(row)) for row in found)
    return before


def _changes(
    before: Before, after: Mapping[type[Model], str | None], using: str
) -> Iterator[Change]:
    for model, row in before.own.items():
        if row is not None or after[model] is not None:
            yield Change(registry.wire_name(model), row, after[model])
    for model in before.too_many:
        yield Change(registry.wire_name(model))
    for model, rows in before.others.items():
        if model in before.too_many:
            continue
        # Those that are gone were deleted with the row, which Django tells by itself.
        for row in QuerySet(model, using=using).filter(pk__in=list(rows)):
            text = row_text(row)
            if text != rows[row.pk]:
                yield Change(registry.wire_name(model), rows[row.pk], text)


# A stack, since a handler of a signal may save the instance again. Bounded, since a save that
# fails never takes its rows back.


def _remember(instance: Model, before: Before) -> None:
    stack = instance.__dict__.setdefault("_snorky_rows", deque(maxlen=MAX_NESTED_SAVES))
    stack.append(before)


def _recall(instance: Model) -> Before | None:
    stack = instance.__dict__.get("_snorky_rows")
    before: Before | None = stack.pop() if stack else None
    if not stack:
        instance.__dict__.pop("_snorky_rows", None)
    return before
