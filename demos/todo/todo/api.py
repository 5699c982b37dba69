"""The JSON API at ``/api/todos/``.

Its list can be subscribed to: asked for with the header ``X-Snorky: Subscribe``, it comes with a
token that the page takes to Snorky. That is `ListSubscribeModelMixin`; the rest is any REST API.
"""

from typing import Any

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BooleanField, ModelSerializer, Serializer
from rest_framework.viewsets import ModelViewSet

from snorky.backend.django.rest_framework import ListSubscribeModelMixin
from todo.models import Todo


class TodoSerializer(ModelSerializer[Todo]):
    class Meta:
        model = Todo
        fields = ["id", "title", "completed"]
        extra_kwargs = {
            "title": {
                "error_messages": {
                    "blank": "A title needs at least one character.",
                    "max_length": "A title has at most {max_length} characters.",
                }
            }
        }


class CompletedSerializer(Serializer[Any]):
    completed = BooleanField()


class TodoViewSet(ListSubscribeModelMixin, ModelViewSet[Todo]):
    queryset = Todo.objects.all()
    serializer_class = TodoSerializer
    dealer = "AllTodos"  # the class in live.py

    @action(detail=False, methods=["patch"])
    def all(self, request: Request) -> Response:
        """Set ``completed`` of every todo."""
        wish = CompletedSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        completed = wish.validated_data["completed"]
        for todo in Todo.objects.exclude(completed=completed):
            todo.completed = completed
            todo.save()  # row by row: QuerySet.update() would tell nobody which rows it changed
        return Response(status=204)

    @action(detail=False, methods=["delete"])
    def completed(self, request: Request) -> Response:
        """Delete the completed ones."""
        Todo.objects.filter(completed=True).delete()
        return Response(status=204)
