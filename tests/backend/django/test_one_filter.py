"""One filter makes a view's query and its subscription; a page may narrow it."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient
from taskapp.models import Task

ASKING = {"X-Snorky": "Subscribe"}


@pytest.fixture
def tasks(published: Any) -> Any:
    for number, title in enumerate("abc"):
        Task.objects.create(title=title, votes=number)
    Task.objects.create(title="done", completed=True, votes=2)
    published.clear()
    published.backend.answers("token")
    return published.backend


def ask(url: str, **query: Any) -> Any:
    return APIClient().get(url, query, headers=ASKING)


def titles(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["title"] for row in response.json()]


def subscribed(snorky: Any) -> Any:
    [item] = snorky.requests[-1].params["items"]
    assert item["dealer"] in ("Tasks", "Task")
    return item["query"]


def test_the_applications_filter_is_the_query_and_the_subscription(tasks):
    assert titles(ask("/fixed-filter/")) == ["a"]
    assert subscribed(tasks) == ["==", "title", "a"]


def test_it_may_depend_on_the_request(tasks):
    assert titles(ask("/api/filtered/")) == ["a", "b", "c"]
    assert subscribed(tasks) == ["==", "completed", False]
    assert titles(ask("/api/filtered/", done="1")) == ["done"]
    # The parameter might be one of django-filter's, so that the page asks again.
    assert tasks.requests[-1].params["items"][0]["dealer"] == "refetch"


def test_a_page_narrows_what_the_application_shows(tasks):
    wish = [">=", "votes", 1]
    assert titles(ask("/api/filtered/", filter=json.dumps(wish))) == ["b", "c"]
    assert subscribed(tasks) == ["and", ["==", "completed", False], wish]


@pytest.mark.parametrize(
    "wish",
    [
        ["or", ["and"], ["==", "votes", 1]],
        ["not", ["==", "title", "a"], ["or"]],
        ["and"],
    ],
)
def test_no_wish_removes_what_the_application_says(tasks, wish):
    response = ask("/api/filtered/", filter=json.dumps(wish))
    assert response.status_code == 400 or "done" not in titles(response)


@pytest.mark.parametrize(
    ("wish", "fault"),
    [
        ("no json", "expected a filter as JSON"),
        ('["like","title","a"]', "unknown operator"),
        ('["==","completed",true]', "there is no field 'completed' to filter by"),
        ('["==","due","tomorrow"]', "tomorrow"),
        ('["==","title","' + "a" * 8_000 + '"]', "at most 8000 characters"),
        ('["not",' * 31 + '["and"]' + "]" * 31, "nested"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_and_says_why(tasks, wish, fault):
    response = ask("/api/filtered/", filter=wish)
    assert response.status_code == 400
    assert fault in response.json()["filter"][0]
    assert "authorizeSubscription" not in tasks.commands()


def test_a_single_object_that_the_filter_excludes_is_not_found(tasks):
    done = Task.objects.get(title="done")
    assert ask(f"/api/filtered/{done.pk}/").status_code == 404
