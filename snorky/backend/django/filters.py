"""Filters as conditions of Django's ORM: one filter for the query and for its subscription.

::

    Task.objects.filter(to_q(["and", ["==", "team", 3], ["<", "votes", 10]], Task))

A field is a column of the model, by the name that serializers give it: a foreign key's is its own,
and its value the key. What follows a dot leads into a JSONField. A field that the model has not got
is missing from every row, as it is for the subscription.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import BooleanField, Expression, F, Field, Model, Q
from django.db.models import fields as django_fields
from django.db.models.fields.json import JSONField

from snorky.filters.columns import (
    NAIVE_INSTANT,
    kinds_of_columns,
    operand_of,
    types_of_columns,
)
from snorky.filters.conditions import dialect_of, fields_in, refuse_others, translated
from snorky.filters.fragments import Column, Value
from snorky.filters.grammar import parse
from snorky.filters.nodes import Filter

# The first that fits counts: a DateTimeField is a DateField, too.
_TYPES: tuple[tuple[type[Field[Any, Any]], type], ...] = (
    (django_fields.BooleanField, bool),
    (django_fields.IntegerField, int),
    (django_fields.FloatField, float),
    (django_fields.DecimalField, Decimal),
    (django_fields.DateTimeField, datetime),
    (django_fields.DateField, date),
    (django_fields.TimeField, time),
    (django_fields.UUIDField, UUID),
    (django_fields.CharField, str),
    (django_fields.TextField, str),
    (JSONField, dict),
)


def to_q(
    filter: Any,  # noqa: A002 (the language's word)
    model: type[Model],
    types: Mapping[str, type] | None = None,
) -> Q:
    """The filter (JSON, or what `parse` returned) as a condition for ``filter()``.

    For PostgreSQL and SQLite. A field's type is its column's; ``types`` gives types to fields
    inside JSON (``info.price``). Raises BadQuery.
    """
    columns = columns_of(model) | dict(types or {})
    kinds = kinds_of_columns(columns)
    if not settings.USE_TZ:
        kinds |= {name: NAIVE_INSTANT for name, kind in columns.items() if kind is datetime}
    parsed = parse(filter, types_of_columns(columns))
    refuse_others(parsed, kinds, [field.name for field in model._meta.concrete_fields])
    return Q(FilterCondition(parsed, kinds))


def types_of(model: type[Model]) -> dict[str, type]:
    """The types of a model's fields, for a dealer: ``types = types_of(Task)``."""
    return types_of_columns(columns_of(model))


def columns_of(model: type[Model]) -> dict[str, type]:
    """The fields that a filter may name, with their types."""
    found = {}
    for field in model._meta.concrete_fields:
        # A foreign key holds what the key that it leads to holds.
        target: Any = field
        while target.remote_field is not None:
            target = target.target_field
        for kind, python_type in _TYPES:
            if isinstance(target, kind):
                found[field.name] = python_type
                break
    return found


class FilterCondition(Expression):
    """A filter over columns of the query's model."""

    conditional = True
    output_field = BooleanField()

    def __init__(self, parsed: Filter, kinds: Mapping[str, str]) -> None:
        super().__init__()
        operands = [operand_of(field, kinds) for field in sorted(fields_in(parsed.node))]
        names = dict.fromkeys(one.column.field for one in operands if one is not None)
        self.parsed = parsed
        self.kinds = kinds
        self.columns: dict[str, Any] = {name: F(name) for name in names}

    def get_source_expressions(self) -> list[Any]:
        return list(self.columns.values())

    def set_source_expressions(self, expressions: Any) -> None:
        self.columns = dict(zip(self.columns, expressions, strict=True))

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        if connection.vendor not in ("postgresql", "sqlite"):
            raise NotImplementedError(
                f"filters are translated for PostgreSQL and SQLite; got {connection.display_name}"
            )
        fragment = translated(self.parsed, self.kinds, dialect_of(connection.vendor))
        columns = {name: compiler.compile(column) for name, column in self.columns.items()}
        text: list[str] = []
        parameters: list[Any] = []
        for part in fragment.parts:
            if isinstance(part, Column):
                column, its_parameters = columns[part.field]
                text.append(column)
                parameters += its_parameters
            elif isinstance(part, Value):
                text.append("%s")
                parameters.append(part.value)
            else:
                text.append(part.replace("%", "%%"))
        return "".join(text), tuple(parameters)
