"""The three pages, all of the same list, and ``/api/todos/``, the API."""

from django.conf import settings
from django.urls import URLPattern, include, path
from django.views.generic import TemplateView
from rest_framework.routers import SimpleRouter

from todo.api import TodoViewSet

PAGES = {"Plain JavaScript": "/", "React": "/react/", "AngularJS": "/angularjs/"}


def page(address: str, template: str) -> URLPattern:
    context = {"pages": PAGES.items(), "snorky_port": settings.SNORKY_PORT}
    view = TemplateView.as_view(template_name=f"todo/{template}", extra_context=context)
    return path(address.removeprefix("/"), view)


api = SimpleRouter()
api.register("todos", TodoViewSet)

urlpatterns = [
    page("/", "plain.html"),
    page("/react/", "react.html"),
    page("/angularjs/", "angularjs.html"),
    path("api/", include(api.urls)),
]
