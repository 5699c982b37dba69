"""``manage.py snorky_triggers install|status|remove``: let the database tell what changes."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from snorky.backend.django import settings
from snorky.backend.django.triggers import models_named, own_connection, remove_triggers
from snorky.backend.outbox.installation import InstallationError
from snorky.backend.outbox.table import MAX_OUTBOX_BYTES, MAX_ROW_BYTES


class Command(BaseCommand):
    help = (
        "Install triggers that write what changes in the tables of models into an outbox, for "
        "manage.py snorky_relay; say how they are; or remove them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["install", "status", "remove"])
        parser.add_argument(
            "models", nargs="*", metavar="MODEL", help="Task, or app.Task; all subscribable ones"
        )
        parser.add_argument("--database", help="alias; by default SNORKY_OUTBOX_DATABASE")
        parser.add_argument("--max-row-bytes", type=int, default=MAX_ROW_BYTES)
        parser.add_argument("--max-outbox-bytes", type=int, default=MAX_OUTBOX_BYTES)

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"] or settings.outbox_database()]
        tables = [model._meta.db_table for model in models_named(options["models"])]
        connection.ensure_connection()
        try:
            own, module = own_connection(connection)
            if options["action"] == "install":
                module.install(own, tables, options["max_row_bytes"], options["max_outbox_bytes"])
            elif options["action"] == "remove":
                remove_triggers(connection, tables)
                self.stdout.write("\n".join(f"{table}: removed" for table in tables))
                return
            found = module.status(own, tables)
        except (InstallationError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        for table in found.tables:
            if table.name in tables or options["action"] == "status":
                left_out = [f"left out: {', '.join(table.left_out)}"] if table.left_out else []
                self.stdout.write(
                    f"{table.name}: {', '.join([table.condition, *left_out, *table.notes])}"
                )
        if options["action"] == "status":
            age = "" if found.age is None else f", the oldest {found.age:.0f} seconds old"
            self.stdout.write(f"Outbox: {found.length:,} rows ({found.size:,} bytes){age}")
            for note in found.notes:
                self.stdout.write(f"Note: {note}")
