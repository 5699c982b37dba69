from rest_framework.viewsets import ModelViewSet
from tasks.models import Task

from snorky.backend.django.rest_framework import ListSubscribeModelMixin


class TaskViewSet(ListSubscribeModelMixin, ModelViewSet):
    model = Task
    dealer = "AllTasks"  # the class in live.py
