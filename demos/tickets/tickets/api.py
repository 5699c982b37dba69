"""The JSON API. Its three kinds of lists are live, each in its own way.

`/api/lists/open/` and the like are told each row that changes; `/api/tickets/?page=2` and
`/api/summary/` follow from more than the row that changed, so pages are told to ask again.
"""

from typing import Any

from django.db import DatabaseError, connection
from django.db.models import Avg, Count, QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import CharField, IntegerField, ModelSerializer, Serializer
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from snorky.backend.django.filters import to_q
from snorky.backend.django.rest_framework import (
    ListSubscribeAPIView,
    ListSubscribeModelMixin,
    SubscribeModelMixin,
    subscription_in_response,
)
from snorky.filters import field
from tickets.models import NEXT, URGENT, Ticket

# Which tickets are in a list, for the database and for Snorky alike.
LISTS: dict[str, Any] = {
    "urgent": (field("priority") == URGENT) & (field("status") != "done"),
    **{status: field("status") == status for status in NEXT},
}


class TicketSerializer(ModelSerializer[Ticket]):
    class Meta:
        model = Ticket
        fields = "__all__"
        extra_kwargs = {
            "title": {"error_messages": {"blank": "A title needs at least one character."}},
            "priority": {"min_value": 1, "max_value": URGENT},
        }


class CountSerializer(Serializer[Any]):
    count = IntegerField(min_value=1, max_value=1000)


class StatementSerializer(Serializer[Any]):
    sql = CharField(max_length=2000)


class FilteredList(ListSubscribeAPIView):
    """The newest tickets of a list: so many as the page shows, and some more.

    ``all`` are those that the page's own filter lets through: ``?filter=["<","hours",3]``.
    """

    # The order that the page says, too: it decides which rows are the newest.
    queryset = Ticket.objects.order_by("-changed", "-id")
    serializer_class = TicketSerializer
    dealer = "Tickets"  # the class in live.py
    filter_param = "filter"

    def get_row_filter(self) -> Any:
        name = self.kwargs["name"]
        if name != "all" and name not in LISTS:
            raise Http404
        return LISTS.get(name)

    def filter_queryset(self, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:
        limit = self.request.query_params.get("limit", "")
        return super().filter_queryset(queryset)[: int(limit) if limit.isdecimal() else None]


class Pages(PageNumberPagination):
    page_size = 10


class TicketViewSet(ListSubscribeModelMixin, ModelViewSet[Ticket]):
    """All tickets, page by page, and what is done with one."""

    queryset = Ticket.objects.order_by("id")
    serializer_class = TicketSerializer
    pagination_class = Pages

    @action(detail=False, methods=["post"])
    def move(self, request: Request) -> Response:
        """Give some tickets, whichever, their next status. The request is one transaction."""
        wish = CountSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        tickets = list(Ticket.objects.order_by("?")[: wish.validated_data["count"]])
        for ticket in tickets:
            ticket.status = NEXT[ticket.status]
            ticket.changed = timezone.now()
        Ticket.objects.bulk_update(tickets, ["status", "changed"])  # one statement
        return Response(status=204)


class Summary(SubscribeModelMixin, GenericAPIView[Ticket]):
    """How many tickets each list has, and how many hours they take on average."""

    queryset = Ticket.objects.all()
    serializer_class = TicketSerializer
    refetch = True

    @subscription_in_response
    def get(self, request: Request) -> Response:
        # One query, so that the numbers agree with each other.
        rows = {name: to_q(each, Ticket) for name, each in LISTS.items()}
        counts = {f"{name}_count": Count("pk", filter=each) for name, each in rows.items()}
        hours = {f"{name}_hours": Avg("hours", filter=each) for name, each in rows.items()}
        numbers = self.get_queryset().aggregate(**counts, **hours)
        return Response(
            [
                {"list": name, "count": numbers[f"{name}_count"], "hours": numbers[f"{name}_hours"]}
                for name in LISTS
            ]
        )


class RawSQL(APIView):
    """What a person types, as any other program might do it. The request is one transaction."""

    def post(self, request: Request) -> Response:
        wish = StatementSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute(wish.validated_data["sql"])
                return Response({"rows": max(cursor.rowcount, 0)})
        except DatabaseError as error:
            raise ValidationError({"sql": [str(error).partition("\n")[0]]}) from error
