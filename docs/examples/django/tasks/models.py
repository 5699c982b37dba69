from django.db import models

from snorky.backend.django import subscribable


@subscribable
class Task(models.Model):
    title = models.CharField(max_length=200)
    done = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
