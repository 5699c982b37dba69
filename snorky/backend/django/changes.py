"""Which rows a save or a deletion changes, and what they looked like before and after.

Rows are read from the database, not from the instance at hand: that one may lack fields, hold
unsaved values or expressions, or be of a subclass. The row before is read under a lock, so that
inside a transaction nobody changes it between the reading and the writing.

Seen are ``save()``, ``delete()`` and their cascades. ``QuerySet.update``, ``bulk_create``,
many-to-many relations, fixtures and raw SQL send no signals that tell the rows: where they are
used, call `publish_deltas`.
"""

from collections import deque
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.signals import (
    class_prepared,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)

from snorky.backend.django.publication import publish_deltas
from snorky.backend.django.settings import ProjectJSON

M = TypeVar("M", bound=Model)
Row = dict[str, Any]

MAX_NESTED_SAVES = 8  # of one instance, by handlers of its own signals

_json = ProjectJSON()
# Models that hold rows -> the subscribable classes over those rows, proxies included.
_subscribable: dict[type[Model], list[type[Model]]] = {}


def subscribable(model: type[M]) -> type[M]:
    """Make a model publish its changes; on the wire its name is the class's.

    ``jsonify()`` of the model gives the row, as an object or as JSON text. A model without it
    gets one that renders as Django REST Framework does by default.
    """
    if model._meta.abstract:
        raise TypeError(f"{model.__name__} is abstract: make the models derived from it subscribable")
    if not hasattr(model, "jsonify"):
        if find_spec("rest_framework") is None:
            raise ImproperlyConfigured(
                f"{model.__name__} needs a method jsonify(), or Django REST Framework installed"
            )
        model.jsonify = _jsonify
    table = model._meta.concrete_model
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


def _family(model: type[Model]) -> Iterator[type[Model]]:
    yield model
    for subclass in model.__subclasses__():
        yield from _family(subclass)


def _watch(model: type[Model]) -> None:
    # By sender: a receiver for all senders would cost every model its fast deletions.
    for signal, handler in _HANDLERS.items():
        signal.connect(handler, sender=model, weak=False, dispatch_uid="snorky")


def _watch_subclass(sender: type[Model], **_: Any) -> None:
    if any(table in _subscribable for table in sender.__mro__):
        _watch(sender)
