"""``/`` is the page, ``/api/todos/`` the API."""

from django.conf import settings
from django.urls import include, path
from django.views.generic import TemplateView
from rest_framework.routers import SimpleRouter

from todo.api import TodoViewSet

api = SimpleRouter()
api.register("todos", TodoViewSet)

urlpatterns = [
    path(
        "",
        TemplateView.as_view(
            template_name="todo.html", extra_context={"snorky_port": settings.SNORKY_PORT}
        ),
    ),
    path("api/", include(api.urls)),
]
