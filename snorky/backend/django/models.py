"""The outbox as a model, to look at: what it means is in `snorky.backend.outbox.table`."""

from __future__ import annotations

from django.db import models

from snorky.backend.outbox.table import OUTBOX


class OutboxRow(models.Model):
    """A change that Snorky has not been told yet (on SQLite: one of the last hour's)."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    model: models.TextField[str | None, str | None] = models.TextField(null=True)
    old_data: models.TextField[str | None, str | None] = models.TextField(null=True)
    new_data: models.TextField[str | None, str | None] = models.TextField(null=True)
    tx_key: models.TextField[str | None, str | None] = models.TextField(null=True)

    class Meta:
        app_label = "snorky"
        db_table = OUTBOX
        managed = False  # its own migration makes more than columns

    def __str__(self) -> str:
        return f"{self.pk}: {self.model}"
