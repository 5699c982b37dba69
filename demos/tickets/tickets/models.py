"""One table. Whatever changes a row, all subscribed pages hear of it: triggers see to that."""

from django.db import models

from snorky.backend.django import subscribable

URGENT = 3
NEXT = {"open": "doing", "doing": "done", "done": "open"}


@subscribable
class Ticket(models.Model):
    title = models.CharField(max_length=100)
    status = models.CharField(max_length=5, choices=[(status, status) for status in NEXT])
    priority = models.PositiveSmallIntegerField(default=1)  # up to URGENT
    hours = models.PositiveSmallIntegerField(default=1)
    changed = models.DateTimeField(auto_now=True, db_index=True)

    def __str__(self) -> str:
        return self.title
