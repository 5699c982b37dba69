"""``manage.py snorky_refresh Task``: after a deploy that changed how rows look."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from snorky.backend.django.datasync import datasync
from snorky.backend.django.management.naming import names_of
from snorky.backend.exchange import SnorkyError


class Command(BaseCommand):
    help = (
        "Let the pages that show these models fetch again, while their subscriptions go on. For "
        "rows that look different though none is missing: a deploy that changed a serializer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("models", nargs="+", metavar="MODEL", help="Task, or app.Task")

    def handle(self, *args: Any, **options: Any) -> None:
        names = names_of(options["models"])
        try:
            datasync.refresh(models=names)
        except (RuntimeError, SnorkyError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Pages of {', '.join(names)} fetch again.")
