from django.db import migrations

from snorky.backend.django.triggers import SnorkyTriggers


class Migration(migrations.Migration):
    dependencies = [("tickets", "0001_initial"), ("snorky", "0001_outbox")]
    operations = [SnorkyTriggers("Ticket")]
