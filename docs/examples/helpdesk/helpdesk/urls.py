from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import TemplateView
from helpdesk.api import TicketViewSet
from rest_framework.routers import SimpleRouter

api = SimpleRouter()
api.register("tickets", TicketViewSet)

urlpatterns = [
    path("", login_required(TemplateView.as_view(template_name="tickets.html"))),
    path("api/", include(api.urls)),
    path("log-in/", include("rest_framework.urls")),
]
