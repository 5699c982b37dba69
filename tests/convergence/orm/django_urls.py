"""The lists of the site."""

from __future__ import annotations

from django.urls import path

from snorky.backend.django.rest_framework import ListSubscribeAPIView
from tests.convergence.orm.models import Note, Task


class Tasks(ListSubscribeAPIView):
    model = Task
    dealer = "Tasks"
    filter_param = "filter"


class Notes(ListSubscribeAPIView):
    model = Note
    dealer = "Notes"
    filter_param = "filter"


urlpatterns = [path("Task", Tasks.as_view()), path("Note", Notes.as_view())]
