"""The whole way: a page asks the project, connects to Snorky and sees what the project commits."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from rest_framework.test import APIClient
from taskapp.models import Task


@pytest.fixture(autouse=True)
def _settings(server: Any) -> Iterator[None]:
    with override_settings(SNORKY_BACKEND_URL=server.backend_url, SNORKY_API_KEY=server.key):
        yield


def subscribe(url: str) -> tuple[list[Any], str]:
    response = APIClient().get(url, headers={"X-Snorky": "Subscribe"})
    return response.json(), response["X-Subscription-Token"]


def row(task: Task, **changes: Any) -> dict[str, Any]:
    [rendered] = [r for r in APIClient().get("/api/tasks/").json() if r["id"] == task.pk]
    return rendered | changes


@pytest.mark.usefixtures("each_fanout")
def test_a_page_sees_what_happens_after_its_list(page):
    first = Task.objects.create(title="a")
    rows, token = subscribe("/api/tasks/")
    assert rows == [row(first)]
    meanwhile = Task.objects.create(title="b")  # before the page connects
    page.call("datasync", "acquireSubscription", token=token)
    assert page.next_delta() == {"type": "insert", "model": "Task", "data": row(meanwhile)}

    first.title = "A"
    first.save()
    assert page.next_delta() == {
        "type": "update",
        "model": "Task",
        "newData": row(first),
        "oldData": row(first, title="a"),
    }
    gone = row(first)
    first.delete()
    assert page.next_delta() == {"type": "delete", "model": "Task", "data": gone}


@pytest.mark.usefixtures("each_fanout")
def test_rows_enter_and_leave_a_filtered_list(page):
    task = Task.objects.create(title="milk")
    rows, token = subscribe("/open/?title=milk")
    assert rows == [{"title": "milk"}]
    page.call("datasync", "acquireSubscription", token=token)
    with transaction.atomic():
        task.title = "wine"
        task.save()
        Task.objects.create(title="cheese")
        task.title = "milk"
        task.save()
    assert page.next_delta() == {"type": "delete", "model": "Task", "data": row(task)}
    assert page.next_delta() == {"type": "insert", "model": "Task", "data": row(task)}


@pytest.mark.usefixtures("each_fanout")
def test_a_soft_deletion_leaves_a_list_by_its_filter(page):
    task = Task.objects.create(title="milk")
    _, token = subscribe("/open/?title=milk")
    answer = page.open(token)
    assert answer["recovered"]
    task.title = "deleted: milk"
    task.save()
    while (frame := page.next_frame())["type"] != "changes":
        pass
    [change] = frame["changes"]
    assert (change["key"], change["data"], change["in"]) == (task.pk, None, [])
    assert change["out"] == answer["items"]


def test_a_page_of_a_list_is_told_to_ask_again(page):
    Task.objects.create(title="a")
    _, token = subscribe("/paged/")
    answer = page.open(token)
    Task.objects.create(title="b")
    while (frame := page.next_frame())["type"] != "stale":
        pass
    assert frame["subscriptions"] == [answer["subscription"]]


def test_the_keys_of_a_write_lead_to_its_changes(page):
    with override_settings(MIDDLEWARE=["snorky.backend.django.middleware.SnorkyKeysMiddleware"]):
        response = APIClient().post("/api/tasks/", {"title": "a"}, format="json")
    keys = response["X-Snorky-Keys"].split(",")
    assert isinstance(page.call("datasync", "awaitKeys", keys=keys), str)
