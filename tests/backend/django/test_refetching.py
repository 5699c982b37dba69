"""Lists as Django REST Framework's users have them: which are told rows, which ask again."""

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings
from rest_framework import serializers
from rest_framework.test import APIClient
from taskapp.models import Project, Task, Team, Ticket

from snorky.backend.django import comparison, refetching
from snorky.backend.django.field_types import types_of_serializer

ROWS = [{"dealer": "AllTasks", "query": None}]
TASKS_AGAIN = [{"dealer": "refetch", "query": {"models": ["Task"]}}]


@pytest.fixture
def ask(snorky: Any) -> Any:
    """``ask(url)`` -> the items of the subscription."""
    for title in "abc":
        Task.objects.create(title=title)
    snorky.answers("t0ken")
    snorky.requests.clear()

    def ask(url: str) -> Any:
        response = APIClient().get(url, headers={"X-Snorky": "Subscribe"})
        assert response.status_code == 200, response.content
        assert response["X-Subscription-Token"] == "t0ken"
        asked = [r for r in snorky.requests if "items" in r.params]
        return asked[-1].params["items"]

    return ask


@pytest.mark.parametrize(
    ("query", "items"),
    [
        ("", ROWS),
        ("?page_size=&search=&completed=", ROWS),
        ("?format=json", ROWS),
        ("?page_size=2", TASKS_AGAIN),
        ("?search=a", TASKS_AGAIN),
        ("?ordering=-title", TASKS_AGAIN),
        ("?completed=false", TASKS_AGAIN),
        ("?votes=7", TASKS_AGAIN),
    ],
)
def test_what_the_request_narrows_or_orders_is_asked_for_again(ask, query, items):
    assert ask(f"/api/everything/{query}") == items


@pytest.mark.parametrize("url", ["/paged/", "/paged/?page=2", "/limited/?limit=2", "/cursors/"])
def test_pages_of_every_kind_are_asked_for_again(ask, url):
    assert ask(url) == TASKS_AGAIN


def test_a_list_that_is_not_limited_is_told_its_rows(ask):
    assert ask("/limited/") == [{"dealer": "Task", "query": None}]


def test_a_filter_backend_of_the_project_s_own_decides_on_rows_unless_a_query_does_too(ask):
    assert ask("/backend-rows/") == TASKS_AGAIN
    known = [{"dealer": "OpenTasks", "query": ["==", "title", "a"]}]
    assert ask("/backend-rows-known/") == known


def test_a_view_may_say_that_it_is_asked_again(ask):
    assert ask("/always-asked/") == TASKS_AGAIN


@pytest.mark.parametrize("url", ["/tickets-with-names/", "/tickets-with-teams/"])
def test_the_models_that_a_serializer_shows_count_too(ask, url):
    team = Team.objects.create(name="Ants")
    project = Project.objects.create(name="Hill", team=team)
    Ticket.objects.create(title="Dig", project=project)
    [item] = ask(url)
    assert item["query"] == {"models": ["WorkTicket", "Team"]}  # Project is not subscribable


def test_a_single_object_is_asked_for_again_beside_a_list_that_is_told_rows(ask):
    assert ask("/api/live-tasks/") == ROWS
    pk = Task.objects.get(title="a").pk
    assert ask(f"/api/live-tasks/{pk}/") == TASKS_AGAIN


def test_a_developer_is_told_once(ask, caplog, monkeypatch):
    monkeypatch.setattr(refetching, "_said", set())
    text = "PagedTasks is live by being asked again at each change, since it is paginated"
    ask("/paged/")
    assert text not in caplog.messages
    with override_settings(DEBUG=True):
        ask("/paged/")
        ask("/paged/")
    assert caplog.messages.count(text) == 1


def test_a_filter_that_is_not_the_query_is_pointed_out_once(ask, expect_log, monkeypatch):
    monkeypatch.setattr(comparison, "_said", set())
    Task.objects.filter(title="b").update(votes=7)
    ask("/wrong-filter/")
    with override_settings(DEBUG=True):
        ask("/wrong-filter/")
        ask("/wrong-filter/")
    record = expect_log("WrongFilter gives the row")
    assert "excludes by the field 'votes'" in record.getMessage()
    assert '"title": "b"' in record.getMessage()


def test_the_types_of_a_serializer_are_known():
    class Inner(serializers.Serializer[Any]):
        due = serializers.DateField()

    class Outer(serializers.Serializer[Any]):
        at = serializers.DateTimeField()
        opens = serializers.TimeField()
        price = serializers.DecimalField(max_digits=5, decimal_places=2)
        key = serializers.UUIDField()
        name = serializers.CharField()
        inner = Inner()

    assert types_of_serializer(Outer) == {
        "at": datetime.datetime,
        "opens": datetime.time,
        "price": Decimal,
        "key": uuid.UUID,
        "inner.due": datetime.date,
    }
