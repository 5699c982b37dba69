"""What only a server with row locks and isolation levels can show, on a real PostgreSQL."""

import threading
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from rest_framework.test import APIClient
from taskapp.models import City, Country, Task

from tests.patience import patient


@pytest.fixture
def task(published, postgres) -> Task:
    task = Task.objects.using(postgres).create(title="Buy milk")
    published.clear()
    return task


def waits_for_a_lock(database: str) -> bool:
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def in_another_thread(action: Any) -> threading.Thread:
    def run() -> None:
        try:
            action()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(condition: Any) -> None:
    deadline = threading.Event()
    for _ in range(1000):
        if condition():
            return
        deadline.wait(0.01)
    raise AssertionError("waited in vain")


def test_two_transactions_on_one_row_each_publish_what_they_really_changed(
    published, postgres, task
):
    def second() -> None:
        with transaction.atomic(postgres):
            mine = Task.objects.using(postgres).get(pk=task.pk)  # before the first commits
            loaded.set()
            assert saved.wait(patient(10))
            mine.votes = 2
            mine.save()

    loaded, saved = threading.Event(), threading.Event()
    thread = in_another_thread(second)
    assert loaded.wait(patient(10))
    with transaction.atomic(postgres):
        task.votes = 1
        task.save()
        saved.set()
        until(lambda: waits_for_a_lock(postgres))
    thread.join()
    changes = [(d["oldData"]["votes"], d["newData"]["votes"]) for d in published.deltas]
    assert sorted(changes) == [(0, 1), (1, 2)]  # whichever thread was quicker to publish


def test_a_row_being_saved_does_not_keep_others_from_referring_to_it(published, postgres):
    country = Country.objects.using(postgres).create(code="es", name="Spain")
    published.clear()
    with transaction.atomic(postgres):
        country.name = "España"
        country.save()
        thread = in_another_thread(
            lambda: City.objects.using(postgres).create(name="Salamanca", country_id="es")
        )
        until(lambda: published.requests)  # the city is committed while the country is not
    thread.join()
    assert [delta["model"] for delta in published.deltas] == ["City", "Country"]


def test_a_transaction_that_is_rolled_back_publishes_nothing(published, postgres, task):
    with transaction.atomic(postgres):
        task.delete()
        transaction.set_rollback(True, postgres)
    assert published.requests == []


def test_read_committed_may_hand_out_subscriptions_in_a_transaction(snorky, postgres, task):
    snorky.answers("t0ken")
    response = APIClient().get("/atomic-postgres/", headers={"X-Snorky": "Subscribe"})
    assert response["X-Subscription-Token"] == "t0ken"
    assert [row["title"] for row in response.json()] == ["Buy milk"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_older_snapshot_may_not(snorky, postgres, task, level):
    page = APIClient()
    with connections[postgres].cursor() as cursor:
        cursor.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")
    try:
        with pytest.raises(ImproperlyConfigured, match="non_atomic_requests"):
            page.get("/atomic-postgres/", headers={"X-Snorky": "Subscribe"})
        assert page.get("/atomic-postgres/").status_code == 200
        assert snorky.commands() == ["head"]
    finally:
        connections[postgres].close()
