"""``/`` is the page, ``/jobs`` the user's jobs; pages ask at ``/events/`` what they may hear of."""

from django.urls import path

from progress import views
from snorky.backend.django.events import event_urls

urlpatterns = [
    path("", views.page),
    path("jobs", views.jobs),
    *event_urls(views.may_connect),
]
