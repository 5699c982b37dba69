"""Rows as Django sees them; their tables are there."""

from __future__ import annotations

from django.db import models

from snorky.backend.django import subscribable


class Row(models.Model):
    id = models.IntegerField(primary_key=True)
    color = models.TextField()
    n = models.IntegerField()
    team = models.TextField()

    class Meta:
        abstract = True


@subscribable
class Task(Row):
    class Meta:
        db_table = "Task"


@subscribable
class Note(Row):
    class Meta:
        db_table = "Note"
