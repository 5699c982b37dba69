"""``/`` is the page, below ``/api/`` is what it asks."""

from django.conf import settings
from django.urls import include, path
from django.views.generic import TemplateView
from django.views.static import serve
from rest_framework.routers import SimpleRouter

from tickets.api import FilteredList, RawSQL, Summary, TicketViewSet

api = SimpleRouter()
api.register("tickets", TicketViewSet)

DEMOS = settings.HERE.parent.parent
page = TemplateView.as_view(
    template_name="tickets.html", extra_context={"snorky_port": settings.SNORKY_PORT}
)

urlpatterns = [
    path("", page),
    path("look.css", serve, {"document_root": DEMOS, "path": "look.css"}),
    path("api/", include(api.urls)),
    path("api/lists/<name>/", FilteredList.as_view()),
    path("api/summary/", Summary.as_view()),
    path("api/sql/", RawSQL.as_view()),
]
