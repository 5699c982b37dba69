"""The row as Django REST Framework renders it when nobody says otherwise.

Lists and deltas both use this, so that a page finds the same row in either.
"""

from functools import cache

from django.db.models import Model
from rest_framework.serializers import ModelSerializer


@cache
def default_serializer(model: type[Model]) -> type[ModelSerializer[Model]]:
    """Return a serializer of all fields of ``model``."""
    meta = type("Meta", (), {"model": model, "fields": "__all__"})
    return type(f"{model.__name__}Serializer", (ModelSerializer,), {"Meta": meta})
