"""``manage.py work``: does the jobs, in a process of its own, as a task queue's worker would."""

import random
import time
from typing import Any

from django.core.management.base import BaseCommand

from progress.models import Job
from snorky.backend.django.events import update

PAUSE_SECONDS = 0.25


class Command(BaseCommand):
    help = "Do the jobs, until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        while True:
            for job in Job.objects.exclude(percent=100):
                job.percent = min(100, job.percent + random.randint(1, 5))
                job.save()
                update(job.event_path, job.for_json())
            time.sleep(PAUSE_SECONDS)
