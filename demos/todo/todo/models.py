"""One table. Whatever saves or deletes a row, all subscribed pages hear of it."""

from django.db import models

from snorky.backend.django import subscribable


@subscribable
class Todo(models.Model):
    title = models.CharField(max_length=256)
    completed = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.title
