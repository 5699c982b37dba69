"""The app ``"snorky.backend.django"``: needed for its commands, and for the outbox."""

from django.apps import AppConfig


class SnorkyConfig(AppConfig):
    name = "snorky.backend.django"
    label = "snorky"
    verbose_name = "Snorky"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from snorky.backend.django import outbox

        outbox.switch_on()
