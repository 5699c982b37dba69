import random

from django.db import migrations, models

TICKETS = 4000
THINGS = ["printer", "projector", "coffee machine", "lift", "door", "lamp", "radiator", "phone"]
FAULTS = ["makes a noise", "does not start", "is too warm", "leaks", "has gone", "blinks"]


def write_tickets(apps, schema_editor):
    choice = random.Random(7).choice  # the same tickets at every start
    Ticket = apps.get_model("tickets", "Ticket")
    Ticket.objects.bulk_create(
        Ticket(
            title=f"The {choice(THINGS)} in room {choice(range(100, 400))} {choice(FAULTS)}",
            status=choice(["open", "doing", "done"]),
            priority=choice([1, 1, 1, 2, 2, 3]),
            hours=choice(range(1, 17)),
        )
        for _ in range(TICKETS)
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Ticket",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=100)),
                (
                    "status",
                    models.CharField(
                        choices=[("open", "open"), ("doing", "doing"), ("done", "done")],
                        max_length=5,
                    ),
                ),
                ("priority", models.PositiveSmallIntegerField(default=1)),
                ("hours", models.PositiveSmallIntegerField(default=1)),
                ("changed", models.DateTimeField(auto_now=True, db_index=True)),
            ],
        ),
        migrations.RunPython(write_tickets, migrations.RunPython.noop),
    ]
