from django.urls import include, path
from django.views.generic import TemplateView
from rest_framework.routers import SimpleRouter
from tasks.views import TaskViewSet

api = SimpleRouter()
api.register("tasks", TaskViewSet)

urlpatterns = [
    path("", TemplateView.as_view(template_name="tasks.html")),
    path("api/", include(api.urls)),
]
