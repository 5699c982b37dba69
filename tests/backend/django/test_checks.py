"""What ``manage.py check`` says before a request finds it out."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.db.models import deletion
from django.test import override_settings
from taskapp.models import City

RIGHT = {"SNORKY_BACKEND_URL": "http://127.0.0.1:5002/backend", "SNORKY_API_KEY": "k" * 32}


def messages(deploy: bool = False, **settings: Any) -> list[str]:
    with (
        override_settings(**RIGHT, **settings)
        if not settings.keys() & RIGHT.keys()
        else (override_settings(**RIGHT | settings))
    ):
        found = run_checks(tags=["snorky"], include_deployment_checks=deploy)
    return [f"{message.id}: {message.msg} {message.hint or ''}".strip() for message in found]


def test_right_settings_are_not_mentioned():
    assert messages() == []
    assert messages(SNORKY_TIMEOUT=0.5, SNORKY_JSON_ENCODER="json.JSONEncoder", deploy=True) == []


@pytest.mark.parametrize("value", [None, ""])
def test_the_ones_that_are_missing_are_named(value):
    assert messages(SNORKY_BACKEND_URL=value, SNORKY_API_KEY=value) == [
        "snorky.E001: The setting SNORKY_BACKEND_URL is missing. "
        "It is the address of Snorky's HTTP backend.",
        "snorky.E001: The setting SNORKY_API_KEY is missing. "
        "It is the key of Snorky's HTTP backend.",
    ]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("SNORKY_BACKEND_URL", "127.0.0.1:5002", "must be like http://127.0.0.1:5002/backend"),
        ("SNORKY_API_KEY", "two\nlines", "must be printable text"),
        ("SNORKY_TIMEOUT", "soon", "could not convert string to float: 'soon'"),
        ("SNORKY_TIMEOUT", 0, "expected a number of seconds above 0, got 0"),
        ("SNORKY_OUTBOX", "yes", 'expected "orm", "triggers" or None, got \'yes\''),
        ("SNORKY_JSON_ENCODER", "json.Nothing", 'does not define a "Nothing" attribute'),
        ("SNORKY_JSON_ENCODER", dict, "expected a class derived from JSONEncoder"),
    ],
)
def test_one_that_cannot_be_used_is_named_with_the_reason(name, value, text):
    [message] = messages(**{name: value})
    assert message.startswith(f"snorky.E002: The setting {name} cannot be used: ")
    assert text in message
    assert "two" not in message


def test_a_name_that_is_nearly_right_is_pointed_out():
    assert messages(SNORKY_TIME_OUT=3) == [
        "snorky.W001: Snorky has no setting SNORKY_TIME_OUT. Did you mean SNORKY_TIMEOUT?"
    ]


def test_settings_of_the_project_s_own_may_begin_like_that():
    assert messages(SNORKY_PORT=5001) == []


def test_a_short_key_is_warned_of_where_it_is_deployed():
    assert messages(SNORKY_API_KEY="swordfish") == []
    [message] = messages(SNORKY_API_KEY="swordfish", deploy=True)
    assert message.startswith("snorky.W002: SNORKY_API_KEY is short enough to be guessed.")
    assert "swordfish" not in message


def test_pages_of_other_origins_must_be_allowed_to_ask():
    cors = {"MIDDLEWARE": ["corsheaders.middleware.CorsMiddleware"]}
    [message] = messages(**cors)
    assert message.startswith("snorky.W003: CORS_ALLOW_HEADERS lacks x-snorky")
    assert messages(**cors, CORS_ALLOW_HEADERS=["accept", "X-Snorky"]) == []


def test_the_outbox_needs_the_app_whose_migration_makes_it():
    without = ["django.contrib.contenttypes", "django.contrib.auth", "taskapp"]
    assert messages(SNORKY_OUTBOX="orm") == []
    [message] = messages(SNORKY_OUTBOX="orm", INSTALLED_APPS=without)
    assert message.startswith("snorky.E003: SNORKY_OUTBOX needs an app in INSTALLED_APPS")


def test_what_the_database_deletes_by_itself_is_refused(monkeypatch):
    class DatabaseOnDelete:
        """As Django has it from 6.1 on."""

    link = City._meta.get_field("country")
    monkeypatch.setattr(deletion, "DatabaseOnDelete", DatabaseOnDelete, raising=False)
    monkeypatch.setattr(link.remote_field, "on_delete", DatabaseOnDelete())
    assert messages() == []
    [message] = messages(SNORKY_OUTBOX="orm")
    assert message.startswith("snorky.E004: taskapp.City.country: the outbox of the ORM does not")
