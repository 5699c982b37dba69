"""``manage.py snorky_reset Task``: after changes that nobody told, let pages fetch anew."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from snorky.backend.django.datasync import datasync
from snorky.backend.django.management.naming import names_of
from snorky.backend.exchange import SnorkyError


class Command(BaseCommand):
    help = (
        "End all subscriptions to rows of these models: their pages fetch anew. For changes that "
        "were not told, by raw SQL or a data migration."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("models", nargs="+", metavar="MODEL", help="Task, or app.Task")

    def handle(self, *args: Any, **options: Any) -> None:
        names = names_of(options["models"])
        try:
            datasync.reset(*names)
        except (RuntimeError, SnorkyError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Pages of {', '.join(names)} fetch anew.")
