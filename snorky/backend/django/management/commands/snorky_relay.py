"""``manage.py snorky_relay``: tell Snorky what the project's outbox holds, until told to stop."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.django import settings
from snorky.backend.django.addresses import database_url
from snorky.backend.django.represent import representations
from snorky.backend.outbox import Relay
from snorky.backend.outbox.installation import InstallationError
from snorky.backend.outbox.relay import LEASE_SECONDS

ANSWER_SECONDS = 30.0


class Command(BaseCommand):
    help = (
        "Tell Snorky what the outbox holds, written by triggers or by the ORM, again and again. "
        'The line "Relay ready" says that all that was there has been told. Ctrl-C and SIGTERM '
        "stop it; nothing is lost then, nor when it is killed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", help="alias; by default SNORKY_OUTBOX_DATABASE")
        parser.add_argument("--source", help="by default SNORKY_OUTBOX_SOURCE")
        parser.add_argument(
            "--lease",
            type=float,
            default=LEASE_SECONDS,
            help="seconds of the lease that the service gives (its argument lease)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            relay = Relay(
                database_url(options["database"] or settings.outbox_database()),
                service=settings.datasync_service(),
                source=options["source"] or settings.source(),
                represent=representations(),
                lease=options["lease"],
            )
            transport = SnorkyHTTPTransport(
                settings.backend_url(), settings.api_key(), timeout=ANSWER_SECONDS
            )
        except (ImproperlyConfigured, InstallationError, ValueError) as error:
            raise CommandError(str(error)) from error
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: relay.stop())
        relay.run(SnorkyBackend(transport), self._ready)
        transport.close()

    def _ready(self) -> None:
        self.stdout.write("Relay ready")
        self.stdout.flush()
