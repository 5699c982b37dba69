from helpdesk.models import Ticket
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet


class TicketSerializer(ModelSerializer):
    class Meta:
        model = Ticket
        fields = ["id", "team", "title", "is_open"]


class TicketViewSet(ModelViewSet):
    """The tickets of the user's teams, page by page."""

    queryset = Ticket.objects.all()
    serializer_class = TicketSerializer
    filterset_fields = ["is_open"]

    def get_queryset(self):
        return super().get_queryset().filter(team__in=self.request.user.groups.all())
