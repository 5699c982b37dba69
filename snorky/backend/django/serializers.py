"""The row as Django REST Framework renders it when nobody says otherwise.

Lists and changes both use this, so that a page finds the same row in either: instants in UTC and of
one width, files by the address that their storage gives, and an ``id`` whatever the key is called.
"""

import datetime
import json
from functools import cache
from typing import Any

from django.core.signals import setting_changed
from django.db.models import DateTimeField as ModelDateTimeField
from django.db.models import FileField, ImageField, Model
from django.dispatch import receiver
from rest_framework import fields
from rest_framework.serializers import ModelSerializer
from rest_framework.settings import api_settings

from snorky.backend.django.settings import instant_text


class InstantField(fields.DateTimeField):
    """An instant as one text whatever its fraction, unless the project has a format of its own."""

    def to_representation(self, value: Any) -> Any:
        if isinstance(value, datetime.datetime) and self._is_iso():
            return instant_text(self.enforce_timezone(value))
        return super().to_representation(value)

    def _is_iso(self) -> bool:
        own: Any = getattr(self, "format", api_settings.DATETIME_FORMAT)
        return isinstance(own, str) and own.lower() == "iso-8601"


class StoredFileField(fields.FileField):
    """A file by the address that its storage gives, whatever host the request came to."""

    def to_representation(self, value: Any) -> Any:
        as_url = getattr(self, "use_url", api_settings.UPLOADED_FILES_USE_URL)
        return value.url if value and as_url else super().to_representation(value)


class StoredImageField(StoredFileField, fields.ImageField):
    """The same for images, which are checked when they are sent."""


class KeyField(fields.Field[Any, Any, Any, Any]):
    """The primary key, as ``id``. That of several columns is the JSON of their array."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source="pk", read_only=True, **kwargs)

    def to_representation(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return json.dumps(value, separators=(",", ":"), default=str)
        return value if isinstance(value, int) else str(value)


class RowSerializer(ModelSerializer[Model]):
    serializer_field_mapping = {
        **ModelSerializer.serializer_field_mapping,
        ModelDateTimeField: InstantField,
        FileField: StoredFileField,
        ImageField: StoredImageField,
    }


@cache
def default_serializer(model: type[Model]) -> type[ModelSerializer[Model]]:
    """Return a serializer of all fields of ``model``."""
    body: dict[str, Any] = {"Meta": type("Meta", (), {"model": model, "fields": "__all__"})}
    # Pages, and what is written for them, know rows by their `id`.
    if all(field.name != "id" for field in model._meta.get_fields()):
        body["id"] = KeyField()
    return type(f"{model.__name__}Serializer", (RowSerializer,), body)


def rendered(instance: Model) -> dict[str, Any]:
    """The row as the default serializer of its model gives it."""
    return dict(_kept_serializer(type(instance)).to_representation(instance))


@cache
def _kept_serializer(model: type[Model]) -> ModelSerializer[Model]:
    # One for all rows, and all threads, which only read it: making its fields costs ten times what
    # a row does.
    serializer = default_serializer(model)()
    assert serializer.fields, "which makes them"
    return serializer


@receiver(setting_changed)
def _forget_serializers(*, setting: str, **_: Any) -> None:
    """Let ``override_settings`` in the project's tests reach what is kept."""
    if setting == "REST_FRAMEWORK":
        _kept_serializer.cache_clear()
