"""What a row looks like on the wire: the same whoever writes it and wherever it is shown."""

import datetime
import json
from typing import Any
from unittest.mock import patch

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy
from rest_framework.test import APIClient
from taskapp.models import Account, Meeting, Person, Task

from snorky.backend.django import authorize_subscription, rows
from snorky.backend.django.serializers import default_serializer

INSTANT = datetime.datetime(2031, 7, 1, 10, tzinfo=datetime.UTC)


def subscribed(url: str) -> Any:
    return APIClient().get(url, headers={"X-Snorky": "Subscribe"}).json()


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "2031-07-01T10:00:00.000000Z"), (500_000, "2031-07-01T10:00:00.500000Z")],
)
def test_an_instant_is_told_in_utc_and_in_one_width(published, fraction, text):
    with timezone.override("Europe/Madrid"):
        Meeting.objects.create(at=INSTANT.replace(microsecond=fraction))
    assert published.deltas[0]["data"]["at"] == text


def test_a_list_and_its_changes_tell_an_instant_alike(published):
    with timezone.override("America/Lima"):
        Meeting.objects.create(at=INSTANT)
    published.backend.answers("t0ken")
    with timezone.override("Europe/Madrid"):
        [row] = subscribed("/meetings/")
    assert row == published.backend.requests[0].params["deltas"][0]["data"]


def test_the_query_of_a_subscription_tells_it_alike_too(snorky):
    snorky.answers("t0ken")
    madrid = INSTANT.astimezone(timezone.zoneinfo.ZoneInfo("Europe/Madrid"))
    authorize_subscription([{"dealer": "Meetings", "query": [">=", "at", madrid]}])
    [item] = snorky.requests[0].params["items"]
    assert item["query"] == [">=", "at", "2031-07-01T10:00:00.000000Z"]


def test_a_project_without_time_zones_tells_local_times():
    with override_settings(USE_TZ=False):
        text = rows.project_json.dumps(INSTANT.replace(tzinfo=None))
    assert text == '"2031-07-01T10:00:00.000000"'


def test_a_format_of_the_project_is_kept(published, settings_of_rest_framework):
    settings_of_rest_framework(DATETIME_FORMAT="%Y")
    Meeting.objects.create(at=INSTANT)
    assert published.deltas[0]["data"]["at"] == "2031"


def test_a_row_is_rendered_in_the_project_s_language(published, monkeypatch):
    monkeypatch.setattr(Task, "jsonify", lambda self: {"state": gettext_lazy("Yes")})
    with translation.override("es"):
        assert str(gettext_lazy("Yes")) == "Sí"
        Task.objects.create(title="a")
    assert published.deltas[0]["data"] == {"state": "Yes"}


def test_what_a_page_subscribes_to_is_rendered_in_that_language_too(snorky, published):
    Task.objects.create(title="a")
    snorky.answers("t0ken")
    with translation.override("es"):
        [row] = subscribed("/said-tasks/")
    assert row == {"state": "Yes", "at": "2031-07-01T10:00:00Z"}
    with translation.override("es"), timezone.override("Europe/Madrid"):
        [row] = APIClient().get("/said-tasks/").json()
    assert row == {"state": "Sí", "at": "2031-07-01T12:00:00+02:00"}


@pytest.mark.parametrize("url", ["/people/", "/own-people/"])
def test_a_file_has_one_address_in_a_list_and_in_a_change(published, url):
    person = Person.objects.create(code="a", name="Ann", photo="ann.png")
    published.backend.answers("t0ken")
    [row] = subscribed(url)
    assert row["photo"] == published.backend.requests[0].params["deltas"][0]["data"]["photo"]
    assert row["photo"] == "/media/ann.png"
    with override_settings(MEDIA_URL="https://media.example.com/"):
        person.photo.storage.__dict__.pop("base_url", None)
        [row] = subscribed(url)
    person.photo.storage.__dict__.pop("base_url", None)
    assert row["photo"] == "https://media.example.com/ann.png"


def test_a_key_of_any_name_is_told_as_id_too(published):
    Person.objects.create(code="a", name="Ann")
    assert published.deltas[0]["data"]["id"] == "a"


def test_a_generated_column_does_not_keep_its_rows_from_being_written(published):
    with transaction.atomic():
        person = Person.objects.create(code="a", name="ann")
        person.name = "anna"
        person.save()
    person.delete()
    assert [delta["type"] for delta in published.deltas] == ["insert", "update", "delete"]
    assert published.deltas[1]["newData"]["upper"] == "ANNA"


def test_a_row_is_encoded_once(published, monkeypatch):
    task = Task.objects.create(title="a")
    encoded: list[Any] = []
    dumps = json.dumps

    def counted(obj: Any, **options: Any) -> str:
        if isinstance(obj, dict) and "title" in dumps(obj, **options):
            encoded.append(obj)
        return dumps(obj, **options)

    monkeypatch.setattr(json, "dumps", counted)
    task.title = "b"
    task.save()
    monkeypatch.undo()
    assert [row["title"] for row in encoded] == ["a", "b"]


def test_keys_that_javascript_would_round_are_warned_of_once(published, expect_log):
    for number in range(2):
        Account.objects.create(id=2**53 + 1 + number)
    expect_log("Account has keys past 2**53, such as 9007199254740993, which JavaScript rounds")


def test_the_serializer_of_a_model_is_made_once(published):
    Task.objects.create(title="a")
    made = default_serializer(Task)
    with patch.object(made, "__init__", side_effect=AssertionError("another one")):
        Task.objects.create(title="b")
    assert [delta["data"]["title"] for delta in published.deltas] == ["a", "b"]
