"""Make the outbox, which is written where ``SNORKY_OUTBOX`` says so, and rests otherwise."""

from django.db import migrations, models

from snorky.backend.django.schema import create_outbox, drop_outbox


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(create_outbox, drop_outbox, elidable=False)],
            state_operations=[
                migrations.CreateModel(
                    name="OutboxRow",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("model", models.TextField(null=True)),
                        ("old_data", models.TextField(null=True)),
                        ("new_data", models.TextField(null=True)),
                        ("tx_key", models.TextField(null=True)),
                    ],
                    options={"db_table": "snorky_outbox", "managed": False},
                )
            ],
        )
    ]
