from django.contrib.auth.models import Group
from django.db import models


class Ticket(models.Model):
    team = models.ForeignKey(Group, on_delete=models.CASCADE)
    title = models.CharField(max_length=200)
    is_open = models.BooleanField(default=True)

    class Meta:
        ordering = ["id"]
