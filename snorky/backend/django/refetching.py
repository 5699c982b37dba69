"""Which views cannot be kept by changes of rows, and are asked again instead.

A page of a list, its order, what a search or a filter of the request leaves of it: these follow
from more than the row that changed. Such a view is live by the dealer ``refetch``, which every
Snorky has: its pages are told that something changed, and ask this view again.
"""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.pagination import CursorPagination, LimitOffsetPagination, PageNumberPagination
from rest_framework.relations import ManyRelatedField, PrimaryKeyRelatedField, RelatedField
from rest_framework.serializers import BaseSerializer, ListSerializer

from snorky.backend.django.registry import is_subscribable, wire_name
from snorky.backend.exchange import snorky_log

DEALER = "refetch"

_said: set[tuple[type, str]] = set()


def reason_to_refetch(view: Any, *, knows_its_rows: bool) -> str | None:
    """What keeps this response from being kept by changes of rows; None if nothing does.

    ``knows_its_rows``: the view says by a dealer's query what its rows are, so what a filter of the
    project's own leaves out is no surprise to it.
    """
    if _is_paginated(view):
        return "it is paginated"
    for backend in getattr(view, "filter_backends", ()):
        if issubclass(backend, SearchFilter):
            if getattr(view, "search_fields", None) and backend().get_search_terms(view.request):
                return "it is searched"
        elif issubclass(backend, OrderingFilter):
            if view.request.query_params.get(backend.ordering_param):
                return "it is ordered by the request"
        elif hasattr(backend, "get_filterset_class"):  # django-filter
            if _filter_params(view):
                return "it is filtered by the request"
        elif not knows_its_rows:
            return f"{backend.__name__} decides on its rows"
    return None


def refetch_items(models: list[type[Model] | str]) -> list[dict[str, Any]]:
    """The item of a subscription that is told of any change of these models."""
    names = [model if isinstance(model, str) else wire_name(model) for model in models]
    return [{"dealer": DEALER, "query": {"models": list(dict.fromkeys(names))}}]


def say_once(view: object, reason: str) -> None:
    """In DEBUG, tell the developer how this view is live."""
    if settings.DEBUG and (type(view), reason) not in _said:
        _said.add((type(view), reason))
        snorky_log.info(
            "%s is live by being asked again at each change, since %s", type(view).__name__, reason
        )


def models_shown_by(serializer: BaseSerializer[Any]) -> Iterator[type[Model]]:
    """The subscribable models whose rows a serializer shows beside those of its own."""
    if isinstance(serializer, ListSerializer):
        serializer = serializer.child  # type: ignore[assignment]  # the stubs allow any field there
    model: type[Model] | None = getattr(getattr(serializer, "Meta", None), "model", None)
    for field in getattr(serializer, "fields", {}).values():
        shown = field.child_relation if isinstance(field, ManyRelatedField) else field
        if isinstance(shown, BaseSerializer):
            inner = shown.child if isinstance(shown, ListSerializer) else shown
            own = getattr(getattr(inner, "Meta", None), "model", None)
            if own is not None and is_subscribable(own):
                yield own
            yield from models_shown_by(shown)
        elif isinstance(shown, RelatedField):
            if model is not None and not isinstance(shown, PrimaryKeyRelatedField):
                yield from _models_on_the_way(model, field.source.split("."))
        elif model is not None:
            yield from _models_on_the_way(model, field.source.split(".")[:-1])


def _models_on_the_way(model: type[Model], names: list[str]) -> Iterator[type[Model]]:
    for name in names:
        try:
            related: Any = model._meta.get_field(name).related_model
        except FieldDoesNotExist:
            return  # a property: what it shows, only the project knows
        if related is None:
            return
        model = related
        if is_subscribable(model):
            yield model


def _is_paginated(view: Any) -> bool:
    paginator = getattr(view, "paginator", None)
    match paginator:
        case None:
            return False
        case LimitOffsetPagination():
            return bool(paginator.get_limit(view.request))
        case PageNumberPagination() | CursorPagination():
            return bool(paginator.get_page_size(view.request))
    return True


def _filter_params(view: Any) -> set[str]:
    """The parameters of the request that are not those of a page, an order or a search."""
    known = {api.ordering_param for api in view.filter_backends if hasattr(api, "ordering_param")}
    known |= {api.search_param for api in view.filter_backends if hasattr(api, "search_param")}
    known |= {view.settings.URL_FORMAT_OVERRIDE, getattr(view, "filter_param", None)}
    return {name for name, value in view.request.query_params.items() if value} - known
