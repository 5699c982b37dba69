"""Views as projects write them, from the manual's few lines to everything by hand."""

import datetime
from typing import Any

from django.db import transaction
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy
from rest_framework.fields import DateTimeField, SerializerMethodField
from rest_framework.generics import RetrieveAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from snorky.backend.django.rest_framework import (
    ListSubscribeAPIView,
    ListSubscribeCreateAPIView,
    ListSubscribeModelMixin,
    SubscribeModelMixin,
    subscription_in_response,
)
from taskapp.models import Country, Meeting, Person, Task


class TaskViewSet(ListSubscribeModelMixin, ModelViewSet):
    """The manual's: no queryset, no serializer."""

    model = Task
    dealer = "AllTasks"
    dealer_query = {"completed": False}


class OtherWayRoundViewSet(ModelViewSet, ListSubscribeModelMixin):
    model = Task


class CountryViewSet(TaskViewSet):
    """Inherits all but the model."""

    model = Country


class TitleSerializer(ModelSerializer[Task]):
    class Meta:
        model = Task
        fields = ("title",)


class OpenTasks(ListSubscribeCreateAPIView):
    """Says everything itself."""

    dealer = "OpenTasks"
    queryset = Task.objects.filter(completed=False)
    serializer_class = TitleSerializer

    def get_dealer_query(self) -> Any:
        return ["==", "title", self.request.query_params.get("title")]


class OpenTasksAgain(OpenTasks):
    """Naming the model must not widen the queryset."""

    model = Task


class PageOfTwo(PageNumberPagination):
    page_size = 2


class PagedTasks(ListSubscribeAPIView):
    model = Task
    pagination_class = PageOfTwo

    def get_queryset(self) -> Any:
        return super().get_queryset().order_by("title")


class Nobody(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return False


class ForbiddenTasks(ListSubscribeAPIView):
    model = Task
    permission_classes = (Nobody,)


class AtomicTasks(ListSubscribeAPIView):
    """In a transaction, as with ATOMIC_REQUESTS."""

    model = Task
    database = "default"

    def get_queryset(self) -> Any:
        return Task.objects.using(self.database)

    def dispatch(self, *args: Any, **kwargs: Any) -> Any:
        with transaction.atomic(self.database):
            return super().dispatch(*args, **kwargs)


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class NonAtomicTasks(ListSubscribeAPIView):
    model = Task


class OneTask(SubscribeModelMixin, RetrieveAPIView[Task]):
    """Another method than list."""

    queryset = Task.objects.all()
    serializer_class = TitleSerializer

    def get_dealer_query(self) -> Any:
        return self.kwargs["pk"]

    @subscription_in_response
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)


class Undecided(ListSubscribeAPIView):
    """Neither dealer nor model."""

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_subscription_items())


class SeveralItems(ListSubscribeAPIView):
    model = Task

    def get_subscription_items(self) -> list[dict[str, Any]]:
        return [{"dealer": name, "query": None} for name in ("Tasks", "Users")]


class Meetings(ListSubscribeAPIView):
    model = Meeting


class People(ListSubscribeAPIView):
    model = Person


class OwnPeople(People):
    """With a serializer of the project's."""

    class PersonSerializer(ModelSerializer[Person]):
        class Meta:
            model = Person
            fields = ("code", "photo")

    serializer_class = PersonSerializer


class SaidTasks(ListSubscribeAPIView):
    """In the user's language and time zone, unless others are to see the same."""

    model = Task

    class TaskSerializer(ModelSerializer[Task]):
        state = SerializerMethodField()
        at = DateTimeField(default=None, read_only=True)

        class Meta:
            model = Task
            fields = ("state", "at")

        def get_state(self, task: Task) -> str:
            return str(gettext_lazy("Yes"))

        def to_representation(self, task: Task) -> Any:
            at = datetime.datetime(2031, 7, 1, 10, tzinfo=datetime.UTC)
            return {"state": self.get_state(task), "at": self.fields["at"].to_representation(at)}

    serializer_class = TaskSerializer
