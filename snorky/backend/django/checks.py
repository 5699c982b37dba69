"""What ``manage.py check`` says about the settings of Snorky, before a request finds it out."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings as project
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 Django's name
from django.core.exceptions import ImproperlyConfigured

from snorky.backend.django import registry, settings
from snorky.backend.django.settings import NAMES
from snorky.backend.exchange import Address

APP = "snorky.backend.django"
SHORTEST_KEY = 16  # characters; shorter ones can be guessed by trying


@register("snorky")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the settings whose names begin with ``SNORKY_``."""
    return list(_messages())


@register("snorky", deploy=True)
def check_key(**_: Any) -> list[CheckMessage]:
    """Check that strangers will not guess the key."""
    key = getattr(project, "SNORKY_API_KEY", None)
    if not isinstance(key, str) or len(key) >= SHORTEST_KEY:
        return []
    hint = "python -c 'import secrets; print(secrets.token_urlsafe())' makes one."
    return [Warning("SNORKY_API_KEY is short enough to be guessed.", hint=hint, id="snorky.W002")]


def _messages() -> Iterator[CheckMessage]:
    used = [name for name in dir(project) if name.startswith("SNORKY_")]
    for name in used:
        if name not in NAMES and (close := difflib.get_close_matches(name, NAMES, 1, 0.77)):
            hint = f"Did you mean {close[0]}?"
            yield Warning(f"Snorky has no setting {name}.", hint=hint, id="snorky.W001")
    for name, meaning in settings.REQUIRED.items():
        if not getattr(project, name, None):
            yield Error(
                f"The setting {name} is missing.", hint=f"It is {meaning}.", id="snorky.E001"
            )
    yield from _complaints("SNORKY_BACKEND_URL", lambda: Address(settings.backend_url(), "key"))
    yield from _complaints(
        "SNORKY_API_KEY", lambda: Address("http://127.0.0.1/", settings.api_key())
    )
    yield from _complaints("SNORKY_TIMEOUT", settings.timeout)
    yield from _complaints("SNORKY_JSON_ENCODER", settings.encoder)
    yield from _complaints("SNORKY_OUTBOX", settings.outbox)
    yield from _outbox()
    yield from _cross_origin_headers()


def _complaints(name: str, use: Callable[[], Any]) -> Iterator[CheckMessage]:
    """What using a setting raises. Those that are missing have been named already."""
    if name in settings.REQUIRED and not getattr(project, name, None):
        return
    try:
        use()
    except Exception as error:
        yield Error(f"The setting {name} cannot be used: {error}", id="snorky.E002")


def _outbox() -> Iterator[CheckMessage]:
    try:
        writer = settings.outbox()
    except ImproperlyConfigured:
        return  # which was said already
    if writer is not None and not apps.is_installed(APP):
        hint = f"Add {APP!r}, whose migration makes the outbox."
        yield Error("SNORKY_OUTBOX needs an app in INSTALLED_APPS.", hint=hint, id="snorky.E003")
    if writer == "orm":
        for field in registry.cascades_of_the_database():
            hint = "Use CASCADE, SET_NULL or SET_DEFAULT of Django, or SNORKY_OUTBOX = 'triggers'."
            text = f"{field}: the outbox of the ORM does not see what the database deletes or sets."
            yield Error(text, obj=field, hint=hint, id="snorky.E004")


def _cross_origin_headers() -> Iterator[CheckMessage]:
    # django-cors-headers: pages of other hosts may send only the headers that it allows.
    allowed = getattr(project, "CORS_ALLOW_HEADERS", None)
    is_used = any("corsheaders" in name for name in getattr(project, "MIDDLEWARE", ()))
    if is_used and "x-snorky" not in [str(name).lower() for name in allowed or ()]:
        yield Warning(
            "CORS_ALLOW_HEADERS lacks x-snorky: pages of other origins get no subscriptions.",
            hint='CORS_ALLOW_HEADERS = [*corsheaders.defaults.default_headers, "x-snorky"]',
            id="snorky.W003",
        )
