"""Views that hand out a subscription with their data, to pages that ask for one.

A page asks with the header ``X-Snorky: Subscribe``. Then the order is: permission (refused
requests get no token), token, query. So a change that the query did not see reaches the token.
If Snorky is away the page gets its data without a token, and may ask again.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model
from django.utils.cache import patch_vary_headers
from rest_framework.generics import GenericAPIView
from rest_framework.mixins import CreateModelMixin, ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from snorky.backend.django.datasync import authorize_subscription
from snorky.backend.django.serializers import default_serializer
from snorky.backend.exchange import snorky_log

P = ParamSpec("P")
View = TypeVar("View", bound="SubscribeModelMixin")

TOKEN_HEADERS = ("X-Subscription-Token", "X-Subscription")  # the manual knows both


def subscription_in_response(
    method: Callable[Concatenate[View, P], Response],
) -> Callable[Concatenate[View, P], Response]:
    """Make a method of a view add the subscription that was asked for to its response.

    For methods of views with `SubscribeModelMixin`: ``list`` of the classes below, or others::

        @subscription_in_response
        def retrieve(self, request, *args, **kwargs):
            return super().retrieve(request, *args, **kwargs)
    """

    @wraps(method)
    def wrapper(view: View, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        asked = view.requested_subscription()
        token = view._authorize() if asked else None
        response = method(view, *args, **kwargs)
        patch_vary_headers(response, ["X-Snorky"])
        if asked:
            # Private, since Django's own cache goes by nothing else before 5.2.16.
            response["Cache-Control"] = "no-store, private"
        if token is not None:
            for header in TOKEN_HEADERS:
                response[header] = token
            if "Origin" in view.request.headers:
                _expose_headers(response)
        return response

    return wrapper


class SubscribeModelMixin:
    """What a view says about the subscription to its rows.

    ``model`` alone suffices: where they are missing, ``queryset`` and serializer follow from it.
    """

    model: type[Model] | None = None
    dealer: str | None = None
    dealer_query: Any = None

    # Of the view this is mixed into, which types them in more than one way.
    request: Any
    queryset: Any
    serializer_class: type[BaseSerializer[Any]] | None

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
        wish: str = self.request.headers.get("X-Snorky", "")
        return wish.strip().lower() == "subscribe"

    def get_dealer(self) -> str:
        """Return the name of the dealer: ``dealer``, or else the model's name."""
        if self.dealer is not None:
            return self.dealer
        model = _model_of(self)
        if model is None:
            raise AttributeError("Missing dealer")
        return model.__name__

    def get_dealer_query(self) -> Any:
        """Return what to ask of the dealer. Override it where it depends on the request."""
        return self.dealer_query

    def get_subscription_items(self) -> list[dict[str, Any]]:
        """Return the items of the subscription. Override it for more than one."""
        return [{"dealer": self.get_dealer(), "query": self.get_dealer_query()}]

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        if self.serializer_class is None and self.model is not None:
            return default_serializer(self.model)
        # The view's own: what this is mixed into has it.
        return super().get_serializer_class()  # type: ignore[misc,no-any-return]

    def _authorize(self) -> str | None:
        _refuse_old_snapshots(self)
        items = self.get_subscription_items()
        try:
            return authorize_subscription(items)
        except RuntimeError as error:
            snorky_log.error("%s answers without subscription: %s", type(self).__name__, error)
            return None


class ListSubscribeModelMixin(SubscribeModelMixin, ListModelMixin):
    """A list that can be subscribed to."""

    @subscription_in_response
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


class ListSubscribeAPIView(ListSubscribeModelMixin, GenericAPIView[Any]):
    """A view for a list that can be subscribed to."""

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)


class ListSubscribeCreateAPIView(CreateModelMixin, ListSubscribeAPIView):
    """A view for a list that can be subscribed to and added to."""

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.create(request, *args, **kwargs)


def _model_of(view: SubscribeModelMixin) -> type[Model] | None:
    queryset = getattr(view, "queryset", None)
    return view.model or (queryset.model if queryset is not None else None)


def _refuse_old_snapshots(view: object) -> None:
    """Raise in a transaction whose query may not see what was committed before the token.

    Only PostgreSQL's READ COMMITTED gives each query of a transaction a snapshot of its own. The
    transactions in which Django's ``TestCase`` wraps a test do not count.
    """
    for connection in connections.all(initialized_only=True):
        # The mark is the one Django itself goes by, for durable blocks.
        if all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            continue
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SHOW transaction_isolation")
                [level] = cursor.fetchone()
            if level in ("read committed", "read uncommitted"):
                continue
        raise ImproperlyConfigured(
            f"{type(view).__name__} hands out subscriptions in a transaction of the database "
            f"{connection.alias!r}, whose queries may miss changes. Run it outside: decorate its "
            f"dispatch() with django.db.transaction.non_atomic_requests"
        )


def _expose_headers(response: Response) -> None:
    # Otherwise the scripts of a page from elsewhere cannot read them.
    exposed = response.get("Access-Control-Expose-Headers")
    names = [exposed] if exposed else []
    response["Access-Control-Expose-Headers"] = ", ".join([*names, *TOKEN_HEADERS])
