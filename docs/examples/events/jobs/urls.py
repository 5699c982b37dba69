from django.urls import path
from jobs import views

from snorky.backend.django.events import event_urls

urlpatterns = [
    path("", views.page),
    path("start", views.start),
    *event_urls(lambda request, path: path == f"/jobs/{request.session.get('job')}"),
]
