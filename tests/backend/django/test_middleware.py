"""Responses to writes tell under which keys they were published."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from rest_framework.test import APIClient
from taskapp.models import Task

KEYS = "snorky.backend.django.middleware.SnorkyKeysMiddleware"


@pytest.fixture(autouse=True)
def _middleware():
    with override_settings(MIDDLEWARE=[KEYS]):
        yield


def keys_of(published: Any) -> list[str]:
    return [request.params["key"] for request in published.backend.requests]


def test_a_write_is_one_transaction_with_one_key(published):
    response = Client().post("/write/a")
    assert [len(deltas) for deltas in published.requests] == [2]
    assert response["X-Snorky-Keys"] == keys_of(published)[0]


def test_a_view_that_opted_out_has_a_key_for_each_of_its_transactions(published):
    response = Client().post("/write-apart")
    assert len(published.requests) == 2
    assert response["X-Snorky-Keys"].split(",") == keys_of(published)


def test_so_has_an_async_view(published):
    response = Client().post("/write-async")
    assert response["X-Snorky-Keys"].split(",") == keys_of(published)


@pytest.mark.parametrize(("title", "status"), [("raise", 404), ("fail", 500)])
def test_a_view_that_fails_is_rolled_back_and_has_no_keys(published, title, status):
    response = Client(raise_request_exception=False).post(f"/write/{title}")
    assert response.status_code == status
    assert "X-Snorky-Keys" not in response
    assert not Task.objects.exists()
    assert not connection.in_atomic_block
    assert published.requests == []


def test_so_is_one_whose_exception_the_rest_framework_answers(published):
    response = APIClient().post("/api/refusing/", {"title": "a"})
    assert response.status_code == 400
    assert not Task.objects.exists()
    assert published.requests == []


def test_reading_opens_no_transaction_and_has_no_keys(published):
    Task.objects.create(title="a")
    published.clear()
    response = Client().get("/api/tasks/")
    assert response.status_code == 200
    assert "X-Snorky-Keys" not in response
    assert published.requests == []


def test_a_write_that_nobody_heard_of_has_no_keys(published, snorky, expect_log):
    snorky.sends(500, b"")
    response = Client().post("/write/a")
    assert (response.status_code, "X-Snorky-Keys" in response) == (201, False)
    expect_log("2 deltas not published")


def test_pages_of_other_origins_may_read_the_keys(published):
    response = Client().post("/write/a", headers={"Origin": "https://app.example.com"})
    assert response["Access-Control-Expose-Headers"] == "X-Snorky-Keys"


def test_requests_keep_their_keys_apart(published):
    first, second = Client().post("/write/a"), Client().post("/write/b")
    assert [first["X-Snorky-Keys"], second["X-Snorky-Keys"]] == keys_of(published)
