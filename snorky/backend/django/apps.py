"""Only for its commands need Snorky be in INSTALLED_APPS: ``"snorky.backend.django"``."""

from django.apps import AppConfig


class SnorkyConfig(AppConfig):
    name = "snorky.backend.django"
    label = "snorky"
    verbose_name = "Snorky"
