"""A site by Django and its REST framework."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import Error, connection, transaction
from django.db.models import F

from snorky.backend.outbox import keys
from tests.convergence.orm.database import NAME_THE_KEY
from tests.convergence.orm.worker import MODELS, Site, number, values
from tests.patience import patient


def make_site(database_url: str, backend_url: str) -> Site:
    settings.configure(
        DATABASES={"default": _database(database_url)},
        ALLOWED_HOSTS=["127.0.0.1"],
        INSTALLED_APPS=["snorky.backend.django", "tests.convergence.orm"],
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
        ROOT_URLCONF="tests.convergence.orm.django_urls",
        SECRET_KEY="tests",
        SNORKY_API_KEY="swordfish",
        SNORKY_BACKEND_URL=backend_url,
        SNORKY_OUTBOX="orm",
        SNORKY_TIMEOUT=patient(2),
        USE_TZ=True,
    )
    django.setup()
    return DjangoSite()


def _database(url: str) -> dict[str, Any]:
    address = urlsplit(url)
    if address.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(address.path),
            "OPTIONS": {"timeout": patient(20)},
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": address.path.removeprefix("/"),
        "HOST": address.query.removeprefix("host="),
        "USER": address.username,
    }


class DjangoSite:
    def __init__(self) -> None:
        from tests.convergence.orm import models

        self.answer: Any = get_wsgi_application()
        self._models: list[Any] = [getattr(models, name) for name in MODELS]
        self._statements = [
            *(self._save, self._save, self._change, self._delete, self._delete_some),
            *(self._update, self._bulk_create, self._bulk_update, self._put, self._move),
        ]

    def write(self, chance: random.Random) -> None:
        try:
            with transaction.atomic():
                for _ in range(chance.randint(1, 4)):
                    self._statement(chance)
                self._name_the_key()
                transaction.set_rollback(chance.random() < 0.05)
        except Error:
            connection.close()

    def drained(self, seconds: float) -> bool:
        from snorky.backend.django.draining import drainer

        return drainer.drained(seconds)

    def _statement(self, chance: random.Random) -> None:
        if chance.random() < 0.7:
            self._one(chance)
            return
        try:
            with transaction.atomic():  # a savepoint
                self._one(chance)
                if chance.random() < 0.5:
                    raise Changed
                self._one(chance)
        except Changed:
            pass

    def _one(self, chance: random.Random) -> None:
        chance.choice(self._statements)(chance.choice(self._models), chance)

    def _name_the_key(self) -> None:
        (key,) = keys(connection)
        with connection.cursor() as cursor:
            cursor.execute(NAME_THE_KEY.format("%s"), [key])

    # Statements

    def _save(self, model: Any, chance: random.Random) -> None:
        model(id=number(chance), **values(chance)).save()

    def _change(self, model: Any, chance: random.Random) -> None:
        row = model.objects.filter(pk=number(chance)).first()
        if row is not None:
            row.color = chance.choice(["red", "blue"])
            row.save()

    def _delete(self, model: Any, chance: random.Random) -> None:
        model(pk=number(chance)).delete()

    def _delete_some(self, model: Any, chance: random.Random) -> None:
        model.objects.filter(n=3, team=chance.choice("ab")).delete()

    def _update(self, model: Any, chance: random.Random) -> None:
        model.objects.filter(n__lt=2).update(n=F("n") + 1)

    def _bulk_create(self, model: Any, chance: random.Random) -> None:
        there = set(model.objects.values_list("pk", flat=True))
        rows = [model(id=n, **values(chance)) for n in {number(chance), number(chance)} - there]
        model.objects.bulk_create(rows)

    def _bulk_update(self, model: Any, chance: random.Random) -> None:
        rows = list(model.objects.filter(team=chance.choice("ab"))[:3])
        for row in rows:
            row.n = chance.randint(0, 3)
        model.objects.bulk_update(rows, ["n"])

    def _put(self, model: Any, chance: random.Random) -> None:
        model.objects.update_or_create(id=number(chance), defaults=values(chance))

    def _move(self, model: Any, chance: random.Random) -> None:
        """What cannot be told row by row: a changed key, rows that may have been there."""
        if chance.random() < 0.5:
            there = set(model.objects.values_list("pk", flat=True))
            free = sorted(set(range(1, 13)) - there)
            if there and free:
                model.objects.filter(pk=min(there)).update(id=chance.choice(free))
        else:
            model.objects.bulk_create(
                [model(id=number(chance), **values(chance))],
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["color", "n", "team"],
            )


class Changed(Exception):
    """His mind."""
