"""Views that hand out a subscription with their data, to pages that ask for one.

A page asks with the header ``X-Snorky: Subscribe``. Then the order is: the place in the log,
permission (refused requests get no token), token, query, the turn of those who were writing. So a
change that the query did not see reaches the token, and none that it saw comes later. If Snorky is
away the page gets its data without a token, and may ask again.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from copy import copy
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, Q, QuerySet
from django.utils.cache import patch_vary_headers
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.mixins import CreateModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from snorky.backend.django.comparison import compare_rows
from snorky.backend.django.cors import add_to_header
from snorky.backend.django.datasync import authorize_subscription, datasync
from snorky.backend.django.publication import is_told_all
from snorky.backend.django.refetching import (
    models_shown_by,
    reason_to_refetch,
    refetch_items,
    say_once,
)
from snorky.backend.django.rows import same_for_all
from snorky.backend.django.serializers import default_serializer
from snorky.backend.django.snapshots import refuse_older_snapshots, refuse_replica
from snorky.backend.exchange import NoAnswerError, SnorkyError, snorky_log
from snorky.backend.headers import TOKENS, reading_headers, wants_subscription

P = ParamSpec("P")
View = TypeVar("View", bound="SubscribeModelMixin")
Items = list[dict[str, Any]]


def subscription_in_response(
    method: Callable[Concatenate[View, P], Response],
) -> Callable[Concatenate[View, P], Response]:
    """Make a method of a view add the subscription that was asked for to its response.

    For methods of views with `SubscribeModelMixin`: ``list`` of the classes below, or others::

        @subscription_in_response
        def retrieve(self, request, *args, **kwargs):
            return super().retrieve(request, *args, **kwargs)
    """
    return _with_subscription(method, lambda view: view.get_subscription_items())


def object_subscription_in_response(
    method: Callable[Concatenate[View, P], Response],
) -> Callable[Concatenate[View, P], Response]:
    """The same for methods that answer with one object."""
    return _with_subscription(method, lambda view: view.get_object_items())


def _with_subscription(
    method: Callable[Concatenate[View, P], Response], items_of: Callable[[View], Items]
) -> Callable[Concatenate[View, P], Response]:
    @wraps(method)
    def wrapper(view: View, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        asked = view.requested_subscription()
        items = items_of(view) if asked else []
        token = view._authorize(items) if asked else None
        # As the changes are rendered, which know nothing of this user.
        with same_for_all() if asked else nullcontext():
            response = method(view, *args, **kwargs)
        if token is not None:
            compare_rows(view, items, response)
            token = token if view._is_told_all() else None
        headers = reading_headers(asked=asked, token=token)
        patch_vary_headers(response, [headers.pop("Vary")])
        for name, value in headers.items():
            response[name] = value
        if token is not None and "Origin" in view.request.headers:
            # Otherwise the scripts of a page from elsewhere cannot read them.
            add_to_header(response, "Access-Control-Expose-Headers", TOKENS)
        return response

    setattr(wrapper, "hands_out_subscriptions", True)  # noqa: B010 functions have no such attribute
    return wrapper


class SubscribeModelMixin:
    """What a view says about the subscription to its rows.

    ``model`` alone suffices: where they are missing, ``queryset`` and serializer follow from it.
    ``row_filter`` (or ``get_row_filter()``) makes both the query and the subscription, and
    ``filter_param`` names the parameter by which pages may narrow it:
    ``?filter=["==","state","open"]``.
    ``refetch`` says whether pages ask this view again at each change instead of being told the
    changed rows; None leaves it to each request: they do where it is paginated, searched, filtered
    or ordered.
    """

    model: type[Model] | None = None
    dealer: str | None = None
    """The dealer's name, where it is not the model's; see ``get_dealer``."""
    dealer_query: Any = None
    """What to ask of it, where it is the same for every request; see ``get_dealer_query``."""
    row_filter: Any = None
    filter_param: str | None = None
    refetch: bool | None = None

    # Of the view this is mixed into, which types them in more than one way.
    request: Any
    queryset: Any
    serializer_class: type[BaseSerializer[Any]] | None

    _place: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        model, queryset = cls.model, getattr(cls, "queryset", None)
        # On the class, where `router.register` looks for it. A queryset of the view's own stays,
        # one that was inherited with another model does not.
        if model is None or "queryset" in cls.__dict__:
            return
        if queryset is None or queryset.model is not model:
            cls.queryset = model._default_manager.all()

    def requested_subscription(self) -> bool:
        """Tell whether the page asked for a subscription."""
        return wants_subscription(self.request.headers)

    def get_dealer(self) -> str:
        """Return the name of the dealer: ``dealer``, or else the model's name."""
        if self.dealer is not None:
            return self.dealer
        model = self._model()
        if model is None:
            raise AttributeError("Missing dealer")
        return model.__name__

    def get_dealer_query(self) -> Any:
        """Return what to ask of the dealer. Override it where it depends on the request."""
        return self._chosen_rows()[0] if self._filters() else self.dealer_query

    def get_row_filter(self) -> Any:
        """Return which rows the user may see, a filter. Override it where that depends on whom."""
        return self.row_filter

    def get_filter_fields(self) -> Collection[str]:
        """Return the fields by which pages may filter: those columns that the rows show."""
        model = self._model()
        if model is None:
            raise AttributeError("Missing model")
        columns = {field.name for field in model._meta.concrete_fields}
        fields: Mapping[str, Any] = getattr(self.get_serializer_class()(), "fields", {})
        return {
            name
            for name, field in fields.items()
            if name in columns and field.source == name and not field.write_only
        }

    def get_subscription_items(self) -> Items:
        """Return the items of the subscription. Override it for more than one."""
        own = type(self).get_dealer_query is not SubscribeModelMixin.get_dealer_query
        reason = "it says so" if self.refetch else None
        if self.refetch is None and self._model() is not None:
            knows = own or self._filters() or self.dealer_query is not None
            reason = reason_to_refetch(self, knows_its_rows=knows)
        if reason is not None:
            say_once(self, reason)
            return refetch_items(self.get_refetch_models())
        return [{"dealer": self.get_dealer(), "query": self.get_dealer_query()}]

    def get_object_items(self) -> Items:
        """Return the items of the subscription to a single object, where the view answers with one.

        Its page asks again when anything of its models changes. Where a dealer can tell the one
        row, such as a `FilterDealer` by a filter on its key, override this.
        """
        return refetch_items(self.get_refetch_models())

    def get_refetch_models(self) -> list[type[Model] | str]:
        """Return the models, or their names, whose changes may change what this view answers.

        By default its own, and those that its serializer shows and that are subscribable.
        """
        model = self._model()
        if model is None:
            raise AttributeError("Missing model")
        return [model, *models_shown_by(self.get_serializer_class()())]

    def get_subscription_subject(self) -> Any:
        """Return whose subscription it is, any JSON value: see ``revoke_subscriptions``."""
        return None

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """The view's own, or the one that changes of ``model`` are rendered with."""
        if self.serializer_class is None and self.model is not None:
            return default_serializer(self.model)
        # The view's own: what this is mixed into has it.
        return super().get_serializer_class()  # type: ignore[misc,no-any-return]

    def get_serializer_context(self) -> dict[str, Any]:
        """The view's own; addresses have no host where the page asked for a subscription."""
        context: dict[str, Any] = super().get_serializer_context()  # type: ignore[misc]
        if self.requested_subscription() and context.get("request") is self.request:
            # Changes are rendered without a request, so their addresses have no host.
            context["request"] = _without_host(self.request)
        return context

    def filter_queryset(self, queryset: Any) -> Any:
        """The view's own, which must not read a replica where a subscription comes with it."""
        if isinstance(queryset, QuerySet) and self.requested_subscription():
            refuse_replica(self, queryset)
        queryset = super().filter_queryset(queryset)  # type: ignore[misc]
        return queryset.filter(self._chosen_rows()[1]) if self._filters() else queryset

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Note the place in the log, before permission is checked and rows are read."""
        # Here, before permission is checked: what is revoked from now on reaches the token.
        if self._hands_out() and self.requested_subscription():
            self._place = self._newest_position()
        super().initial(request, *args, **kwargs)  # type: ignore[misc]

    def _hands_out(self) -> bool:
        """Whether the method that will answer hands out subscriptions, as far as can be known."""
        action = getattr(self, "action", None)
        if action is None:
            return bool(self.request.method == "GET")
        methods = (owner.__dict__.get(action) for owner in type(self).__mro__)
        return any(hasattr(method, "hands_out_subscriptions") for method in methods)

    def _newest_position(self) -> str | None:
        try:
            return datasync.head()
        except (RuntimeError, SnorkyError):
            return None  # what is wrong, authorising tells

    def _authorize(self, items: Items) -> str | None:
        refuse_older_snapshots(self)
        subject = self.get_subscription_subject()
        name = type(self).__name__
        try:
            return authorize_subscription(items, subject, self._place)
        except NoAnswerError as error:
            snorky_log.error("%s answers without subscription: %s", name, error)
        except RuntimeError as error:
            dealers = ", ".join(sorted({str(item.get("dealer")) for item in items}))
            if settings.DEBUG:
                raise ImproperlyConfigured(
                    f"Snorky gives {name} no subscription: {error}. Its dealers are {dealers}; the "
                    f"address and the key are SNORKY_BACKEND_URL and SNORKY_API_KEY"
                ) from error
            snorky_log.error("%s answers without subscription: %s (%s)", name, error, dealers)
        return None

    def _is_told_all(self) -> bool:
        """Whether all that the query saw has been published."""
        if is_told_all():
            return True
        name = type(self).__name__
        snorky_log.error("%s answers without subscription: changes are not published yet", name)
        return False

    def _filters(self) -> bool:
        """Whether one filter makes the query and the subscription."""
        own = type(self).get_row_filter is not SubscribeModelMixin.get_row_filter
        return own or self.row_filter is not None or self.filter_param is not None

    def _chosen_rows(self) -> tuple[Any, Q]:
        """The filter as JSON and as a condition, before anybody is asked for anything."""
        # Here, since the filter language is not needed to serve requests.
        from snorky.backend.django.filters import to_q
        from snorky.backend.one_filter import chosen_filter
        from snorky.filters import BadQuery

        model = self._model() or self.get_queryset().model  # type: ignore[attr-defined]
        wish = self.filter_param and self.request.query_params.get(self.filter_param)
        fields = self.get_filter_fields() if wish else ()
        try:
            chosen = chosen_filter(self.get_row_filter(), wish, fields=fields)
            return chosen, to_q(chosen, model)
        except BadQuery as error:
            if self.filter_param is None or not wish:
                raise
            raise ValidationError({self.filter_param: [str(error)]}) from error

    def _model(self) -> type[Model] | None:
        queryset = getattr(self, "queryset", None)
        return self.model or (queryset.model if queryset is not None else None)


class ListSubscribeModelMixin(SubscribeModelMixin, ListModelMixin):
    """A list that can be subscribed to."""

    @subscription_in_response
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The rows, and the subscription to them where the page asked for one."""
        return super().list(request, *args, **kwargs)


class RetrieveSubscribeModelMixin(SubscribeModelMixin, RetrieveModelMixin):
    """A single object that can be subscribed to, beside a list or alone."""

    @object_subscription_in_response
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The object, and the subscription to it where the page asked for one."""
        return super().retrieve(request, *args, **kwargs)


class ListSubscribeAPIView(ListSubscribeModelMixin, GenericAPIView[Any]):
    """A view for a list that can be subscribed to."""

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer with ``list``."""
        return self.list(request, *args, **kwargs)


class ListSubscribeCreateAPIView(CreateModelMixin, ListSubscribeAPIView):
    """A view for a list that can be subscribed to and added to."""

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer with ``create``, which publishes nothing itself: the saved model does."""
        return self.create(request, *args, **kwargs)


class RetrieveSubscribeAPIView(RetrieveSubscribeModelMixin, GenericAPIView[Any]):
    """A view for a single object that can be subscribed to."""

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer with ``retrieve``."""
        return self.retrieve(request, *args, **kwargs)


def _without_host(request: Any) -> Any:
    """The request, to which addresses are relative."""
    relative = copy(request)
    relative.build_absolute_uri = lambda location=None: location or request.path
    return relative
