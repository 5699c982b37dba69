"""One table: the jobs that users have started."""

from typing import Any

from django.db import models

STEPS = ["Reading", "Sorting", "Drawing", "Writing"]


class Job(models.Model):
    owner = models.CharField(max_length=32, db_index=True)
    title = models.CharField(max_length=100)
    percent = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.title}, {self.percent} %"

    @property
    def event_path(self) -> str:
        """Where its progress is told."""
        return f"/jobs/{self.pk}"

    def for_json(self) -> dict[str, Any]:
        """What pages are told of it, by Django and by Snorky alike."""
        step = STEPS[min(self.percent * len(STEPS) // 100, len(STEPS) - 1)]
        return {
            "id": self.pk,
            "title": self.title,
            "percent": self.percent,
            "step": "Done" if self.percent == 100 else step,
        }
