"""Which fields of a serializer's rows are instants, dates, times, decimals or UUIDs.

In JSON they are text; a dealer that knows their types compares what they mean::

    class DueTasks(FilterDealer):
        model = "Task"
        types = types_of_serializer(TaskSerializer)         # in live.py, after django.setup()
"""

import datetime
import uuid
from decimal import Decimal
from typing import Any

from rest_framework import fields
from rest_framework.serializers import BaseSerializer

_TYPES: list[tuple[type[fields.Field[Any, Any, Any, Any]], type]] = [
    (fields.DateTimeField, datetime.datetime),
    (fields.DateField, datetime.date),
    (fields.TimeField, datetime.time),
    (fields.DecimalField, Decimal),
    (fields.UUIDField, uuid.UUID),
]


def types_of_serializer(serializer: type[BaseSerializer[Any]]) -> dict[str, type]:
    """The types of its fields, ``{"due": datetime.datetime, "price": decimal.Decimal}``.

    Those of nested serializers have dotted names: ``project.due``.
    """
    return _types(serializer(), "")


def _types(serializer: Any, prefix: str) -> dict[str, type]:
    found: dict[str, type] = {}
    for name, field in getattr(serializer, "fields", {}).items():
        if isinstance(field, BaseSerializer):
            found |= _types(field, f"{prefix}{name}.")
        for kind, python_type in _TYPES:
            if isinstance(field, kind):
                found[prefix + name] = python_type
    return found
