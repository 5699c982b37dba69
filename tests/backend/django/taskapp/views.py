"""Views as projects write them, from the manual's few lines to everything by hand."""

import datetime
from typing import Any

from django.db import transaction
from django.http import Http404, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import cache_page
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import ValidationError
from rest_framework.fields import CharField, DateTimeField, SerializerMethodField
from rest_framework.filters import BaseFilterBackend, OrderingFilter, SearchFilter
from rest_framework.generics import RetrieveAPIView
from rest_framework.pagination import (
    CursorPagination,
    LimitOffsetPagination,
    PageNumberPagination,
)
from rest_framework.permissions import BasePermission
from rest_framework.relations import StringRelatedField
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from snorky.backend.django.rest_framework import (
    ListSubscribeAPIView,
    ListSubscribeCreateAPIView,
    ListSubscribeModelMixin,
    RetrieveSubscribeModelMixin,
    SubscribeModelMixin,
    subscription_in_response,
)
from snorky.filters import field
from taskapp.models import Country, Meeting, Person, Project, Task, Ticket


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


class OptionalPages(PageNumberPagination):
    page_size_query_param = "page_size"


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


class EverythingOfTasks(ListSubscribeModelMixin, ModelViewSet):
    """As projects have it: pages, search, order and filters of the request."""

    queryset = Task.objects.order_by("id")
    serializer_class = TitleSerializer
    dealer = "AllTasks"
    pagination_class = OptionalPages
    filter_backends = (DjangoFilterBackend, SearchFilter, OrderingFilter)
    filterset_fields = ("completed", "votes")
    search_fields = ("title",)
    ordering_fields = ("title", "votes")


class LimitedTasks(ListSubscribeAPIView):
    queryset = Task.objects.order_by("id")
    pagination_class = LimitOffsetPagination
    serializer_class = TitleSerializer


class CursorOfTwo(CursorPagination):
    page_size = 2
    ordering = "id"


class CursorTasks(ListSubscribeAPIView):
    model = Task
    pagination_class = CursorOfTwo


class OwnRows(BaseFilterBackend):
    def filter_queryset(self, request: Request, queryset: Any, view: Any) -> Any:
        return queryset.filter(title="a")


class RowsOfABackend(ListSubscribeAPIView):
    model = Task
    filter_backends = (OwnRows,)


class RowsOfABackendAndAQuery(RowsOfABackend):
    dealer = "OpenTasks"
    dealer_query = ("==", "title", "a")


class AlwaysAsked(ListSubscribeAPIView):
    model = Task
    refetch = True


class TicketsWithNames(ListSubscribeAPIView):
    """Shows what other tables hold."""

    class TicketSerializer(ModelSerializer[Ticket]):
        class ProjectSerializer(ModelSerializer[Project]):
            team = StringRelatedField()

            class Meta:
                model = Project
                fields = ("name", "team")

        project = ProjectSerializer()

        class Meta:
            model = Ticket
            fields = ("title", "project")

    queryset = Ticket.objects.all()
    serializer_class = TicketSerializer
    refetch = True


class TicketsWithTeams(TicketsWithNames):
    class TicketSerializer(ModelSerializer[Ticket]):
        team = CharField(source="project.team.name")

        class Meta:
            model = Ticket
            fields = ("title", "team")

    serializer_class = TicketSerializer


class LiveTasks(RetrieveSubscribeModelMixin, ListSubscribeModelMixin, ModelViewSet):
    """A list and its single objects."""

    model = Task
    dealer = "AllTasks"


class WrongFilter(ListSubscribeAPIView):
    """The filter is not the query's."""

    model = Task
    dealer = "OpenTasks"
    dealer_query = ("and", ("==", "completed", False), ("<", "votes", 5))

    def get_queryset(self) -> Any:
        return Task.objects.filter(completed=False)


class ReplicaTasks(ListSubscribeAPIView):
    model = Task

    def get_queryset(self) -> Any:
        return Task.objects.using("other")


@method_decorator(cache_page(60), name="dispatch")
class CachedTasks(ListSubscribeAPIView):
    model = Task


def write_tasks(request: Any, title: str) -> HttpResponse:
    Task.objects.create(title=title)
    Task.objects.create(title=title + "2")
    if title == "raise":
        raise Http404
    return HttpResponse(status=500 if title == "fail" else 201)


@transaction.non_atomic_requests
def write_apart(request: Any) -> HttpResponse:
    Task.objects.create(title="a")
    Task.objects.create(title="b")
    return HttpResponse(status=201)


async def write_async(request: Any) -> HttpResponse:
    await Task.objects.acreate(title="a")
    return HttpResponse(status=201)


class RefusingTasks(ModelViewSet):
    """Raises after it has written, as a validation of several objects may."""

    queryset = Task.objects.all()
    serializer_class = TitleSerializer

    def perform_create(self, serializer: Any) -> None:
        serializer.save()
        raise ValidationError("no")


class FilteredTasks(ListSubscribeModelMixin, ModelViewSet):
    """One filter: of the application, by who asks, and of the page, which may narrow it."""

    class TaskSerializer(ModelSerializer[Task]):
        class Meta:
            model = Task
            fields = ("id", "title", "votes", "due")

    queryset = Task.objects.order_by("id")
    serializer_class = TaskSerializer
    dealer = "Tasks"
    filter_param = "filter"
    filter_backends = (DjangoFilterBackend,)
    filterset_fields = ("votes",)

    def get_row_filter(self) -> Any:
        return field("completed") == ("done" in self.request.query_params)


class FixedFilter(ListSubscribeAPIView):
    model = Task
    row_filter = ("==", "title", "a")
