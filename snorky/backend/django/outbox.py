"""Changes on their way by the outbox: written in the transaction that makes them.

Whoever reads it tells Snorky: the drainers of this project (`snorky.backend.django.draining`), or
a relay. The table is made by this app's migration.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import connections, transaction
from django.dispatch import receiver

from snorky.backend.django import settings
from snorky.backend.django.capture import capture_writes
from snorky.backend.django.gathering import gathered_keys
from snorky.backend.entries import Change, new_key
from snorky.backend.outbox.table import MAX_ROW_BYTES, OUTBOX

INSERT = f"INSERT INTO {OUTBOX} (model, old_data, new_data, tx_key) VALUES (%s, %s, %s, %s)"  # noqa: S608 a constant

_captures = False


def switch_on() -> None:
    """Write what the ORM does into the outbox, where the settings say so."""
    global _captures
    if settings.outbox() == "orm" and not _captures:
        _captures = True
        capture_writes(write)


def write(changes: Iterable[Change], using: str) -> None:
    """Write changes into the outbox of a database, as part of its transaction."""
    connection = connections[using]
    with transaction.atomic(using, savepoint=False):
        committed = next(
            (entry[1] for entry in connection.run_on_commit if isinstance(entry[1], Committed)),
            None,
        )
        rows = [_row(change) for change in changes]
        if not rows:
            return
        if committed is None:
            committed = Committed(using)
            transaction.on_commit(committed, using)
            rows[0][3] = committed.key
        with connection.cursor() as cursor:
            cursor.executemany(INSERT, rows)


class Committed:
    """What happens when a transaction that wrote the outbox has committed."""

    def __init__(self, using: str) -> None:
        self._keys = gathered_keys.get()
        self.key = None if self._keys is None else new_key()

    def __call__(self) -> None:
        if self._keys is not None and self.key is not None:
            self._keys.append(self.key)
        if settings.outbox() == "orm":
            _drainer().wake()


def drained() -> bool:
    """Wait a little until all that has committed by now was told. False: it was not."""
    return bool(_drainer().drained())


def _drainer() -> Any:
    # Here, since its thread and its connection are not needed before.
    from snorky.backend.django.draining import drainer

    return drainer


def _row(change: Change) -> list[Any]:
    texts = [change.before, change.after]
    if any(text is not None and len(text.encode()) > MAX_ROW_BYTES for text in texts):
        texts = [None, None]
    return [change.model, *texts, None]


@receiver(setting_changed)
def _switch(*, setting: str, **_: Any) -> None:
    if setting == "SNORKY_OUTBOX":
        with suppress(ImproperlyConfigured):  # which its check says
            switch_on()
