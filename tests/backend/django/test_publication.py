"""When deltas leave: after the commit, together, in order, and only what was committed."""

import threading
import unittest
from contextlib import nullcontext, suppress
from datetime import date
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, transaction
from django.db.models import F
from django.test import TestCase
from taskapp.models import Country, Task

from snorky.backend.django import publish_deltas, reset_models
from snorky.backend.entries import MAX_ENTRY_BYTES
from tests.patience import patient


def titles(deltas: list) -> list[str]:
    return [(delta.get("newData") or delta["data"])["title"] for delta in deltas]


def test_a_transaction_is_published_once_after_its_commit_in_order(published):
    with transaction.atomic():
        for title in "abc":
            Task.objects.create(title=title)
        Task.objects.get(title="b").delete()
        assert published.requests == []
    [deltas] = published.requests
    assert titles(deltas) == ["a", "b", "c", "b"]
    assert [delta["type"] for delta in deltas] == ["insert", "insert", "insert", "delete"]


def test_two_transactions_are_two_publications(published):
    for title in "ab":
        with transaction.atomic():
            Task.objects.create(title=title)
    assert [titles(deltas) for deltas in published.requests] == [["a"], ["b"]]


def test_outside_a_transaction_each_change_leaves_at_once(published):
    Task.objects.create(title="a")
    Task.objects.create(title="b")
    assert [titles(deltas) for deltas in published.requests] == [["a"], ["b"]]


def test_a_transaction_that_is_rolled_back_publishes_nothing(published):
    with suppress(LookupError), transaction.atomic():
        Task.objects.create(title="a")
        raise LookupError
    Task.objects.create(title="b")
    assert [titles(deltas) for deltas in published.requests] == [["b"]]


@pytest.mark.parametrize("last", [True, False])
def test_a_savepoint_that_is_rolled_back_publishes_nothing(published, last):
    with transaction.atomic():
        Task.objects.create(title="a")
        with suppress(LookupError), transaction.atomic():
            Task.objects.create(title="b")
            with transaction.atomic():
                Task.objects.create(title="c")
            raise LookupError
        if not last:
            Task.objects.create(title="d")
    assert [titles(deltas) for deltas in published.requests] == [["a"] if last else ["a", "d"]]


@pytest.mark.parametrize("released", [True, False])
def test_a_savepoint_made_by_hand_publishes_nothing_that_was_rolled_back(published, released):
    with transaction.atomic():
        Task.objects.create(title="before")
        outer = transaction.savepoint()
        Task.objects.create(title="ghost")
        inner = transaction.savepoint()
        Task.objects.create(title="inner ghost")
        if released:
            transaction.savepoint_commit(inner)
        transaction.savepoint_rollback(outer)
        Task.objects.create(title="after")
        later = transaction.savepoint()
        transaction.savepoint_rollback(later)
    assert [titles(deltas) for deltas in published.requests] == [["before", "after"]]
    assert titles(published.deltas) == list(Task.objects.values_list("title", flat=True))


def test_a_transaction_of_which_nothing_is_left_publishes_nothing(published):
    with transaction.atomic(), suppress(LookupError), transaction.atomic():
        Task.objects.create(title="a")
        raise LookupError
    assert published.requests == []
    assert not Task.objects.exists()


def test_savepoints_are_published_with_their_transaction(published):
    with transaction.atomic():
        with transaction.atomic():
            Task.objects.create(title="a")
        with transaction.atomic():
            Task.objects.create(title="b")
        with transaction.atomic(savepoint=False):
            Task.objects.create(title="c")
    assert [titles(deltas) for deltas in published.requests] == [["a", "b", "c"]]


def test_the_row_is_committed_when_its_delta_arrives(published, snorky):
    seen: list[bool] = []
    reply = snorky.answer

    def look_and_reply(handler, request):
        seen.append(Task.objects.filter(title="a").exists())  # in the server's thread
        connection.close()
        reply(handler, request)

    snorky.answer = look_and_reply
    with transaction.atomic():
        Task.objects.create(title="a")
    assert seen == [True]


def test_databases_publish_their_transactions_apart(published):
    with transaction.atomic("default"):
        with transaction.atomic("other"):
            Task.objects.using("default").create(title="a")
            Task.objects.using("other").create(title="b")
        assert [titles(deltas) for deltas in published.requests] == [["b"]]
    assert [titles(deltas) for deltas in published.requests] == [["b"], ["a"]]


@pytest.mark.parametrize("nested", [False, True])
def test_what_a_commit_hook_saves_leaves_in_the_order_of_the_commits(published, nested):
    task = Task(title="a")

    def save_again() -> None:
        task.title = "hook"
        with transaction.atomic() if nested else nullcontext():
            task.save()

    with transaction.atomic():
        task.save()
        transaction.on_commit(save_again)
        Task.objects.create(title="c")
    assert [titles(deltas) for deltas in published.requests] == [["a", "c"], ["hook"]]


def test_hooks_that_only_read_leave_a_transaction_in_one_piece(published):
    with transaction.atomic():
        for title in "abc":
            Task.objects.create(title=title)
            transaction.on_commit(Task.objects.count)
    assert [titles(deltas) for deltas in published.requests] == [["a", "b", "c"]]


def test_a_hook_whose_save_fails_takes_nothing_along(published):
    def fail_to_save() -> None:
        with suppress(LookupError), transaction.atomic():
            Task.objects.create(title="undone")
            raise LookupError

    with transaction.atomic():
        Task.objects.create(title="a")
        transaction.on_commit(fail_to_save)
        Task.objects.create(title="c")
    assert [titles(deltas) for deltas in published.requests] == [["a", "c"]]


def test_a_hook_that_fails_loses_nothing_of_its_transaction(published):
    """Django runs no hook after one that fails; ours are done before."""

    def fail() -> None:
        raise LookupError

    with suppress(LookupError), transaction.atomic():
        Task.objects.create(title="a")
        transaction.on_commit(fail)
        Task.objects.create(title="b")
    assert [titles(deltas) for deltas in published.requests] == [["a", "b"]]


def test_hand_made_deltas_join_the_transaction_they_are_made_in(published):
    delta = {"type": "insert", "model": "Weather", "data": {"title": "sun"}}
    with transaction.atomic():
        Task.objects.create(title="a")
        publish_deltas([delta])
        delta["data"]["title"] = "rain"
        Task.objects.create(title="b")
    publish_deltas([delta])
    publish_deltas([])
    assert [titles(deltas) for deltas in published.requests] == [["a", "sun", "b"], ["rain"]]


@pytest.mark.parametrize("value", [object(), {1, 2}])
def test_a_hand_made_delta_that_is_no_json_raises_at_once(published, value):
    with pytest.raises((TypeError, ValueError)), transaction.atomic():
        publish_deltas([{"type": "insert", "model": "Weather", "data": {"value": value}}])
    assert published.requests == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_no_json_are_published_as_null(published, value):
    publish_deltas([{"type": "insert", "model": "W", "data": {"value": value, "day": date.max}}])
    [delta] = published.deltas
    assert delta["data"] == {"value": None, "day": "9999-12-31"}


def test_a_transaction_of_up_to_a_mebibyte_leaves_in_one_piece(published, snorky):
    with transaction.atomic():
        publish_deltas(
            {"type": "insert", "model": "Weather", "data": {"title": n, "text": "x" * 1000}}
            for n in range(950)
        )
    assert [len(deltas) for deltas in published.requests] == [950]
    assert len(snorky.requests[0].body) > 0.9 * MAX_ENTRY_BYTES


def test_a_larger_one_tells_pages_to_fetch_anew(published, snorky):
    with transaction.atomic():
        Task.objects.create(title="a")
        for title in "bcd":
            Country.objects.create(code=title, name="x" * 50)
            publish_deltas(
                [{"type": "insert", "model": "Weather", "data": {"text": "x" * 400_000}}]
            )
    assert published.requests == [
        [
            {"type": "reset", "model": "Task"},
            {"type": "reset", "model": "Country"},
            {"type": "reset", "model": "Weather"},
        ]
    ]


def test_a_reset_joins_the_transaction(published):
    with transaction.atomic():
        Task.objects.create(title="a")
        Task.objects.update(votes=1)
        reset_models(Task, "Weather")
    [[insert, *resets]] = published.requests
    assert insert["type"] == "insert"
    assert resets == [{"type": "reset", "model": name} for name in ("Task", "Weather")]


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        ({"type": "insert", "model": "W"}, "lacks the field 'data'"),
        ({"type": "update", "model": "W", "newData": {}}, "lacks the field 'oldData'"),
        ({"type": "insert", "model": 7, "data": {}}, "expected a model's name, got 7"),
        ({"type": "move", "model": "W"}, "expected insert, update, delete or reset .* got 'move'"),
        ({"type": "insert", "model": "W", "data": [1]}, r"expected a row .* got \[1\]"),
    ],
)
def test_what_is_no_delta_raises_at_once(published, delta, text):
    with pytest.raises(ValueError, match=text):
        publish_deltas([delta])
    assert published.requests == []


def test_a_commit_whose_answer_was_lost_makes_pages_fetch_anew(published, monkeypatch):
    monkeypatch.setattr(connection, "_commit", broken_commit(connection._commit))
    with pytest.raises(OperationalError):
        Task.objects.create(title="a")
    monkeypatch.undo()
    Task.objects.create(title="b")
    assert [delta["type"] for delta in published.deltas] == ["reset", "insert"]


def broken_commit(commit: Any) -> Any:
    def commit_and_break() -> None:
        commit()
        raise OperationalError("server closed the connection")

    return commit_and_break


def test_threads_publish_their_own_transactions(published):
    def work(name: str) -> None:
        for number in range(5):
            with transaction.atomic():
                publish_deltas([{"type": "insert", "model": "W", "data": {"title": name}}])
                publish_deltas([{"type": "insert", "model": "W", "data": {"title": number}}])
        connection.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = [tuple(titles(deltas)) for deltas in published.requests]
    assert sorted(got) == sorted((name, number) for name in "abcd" for number in range(5))
    for name in "abcd":
        assert [number for who, number in got if who == name] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("in_transaction", [True, False])
def test_threads_that_write_one_row_publish_in_the_order_of_their_commits(
    published, in_transaction
):
    task = Task.objects.create(title="a")
    published.clear()
    together = threading.Barrier(3)

    def vote() -> None:
        together.wait(patient(10))
        for _ in range(10):
            with transaction.atomic() if in_transaction else nullcontext():
                mine = Task(pk=task.pk, title="a", votes=F("votes") + 1)
                mine._state.adding = False
                mine.save(update_fields=["votes"])
        connection.close()

    threads = [threading.Thread(target=vote) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps = [(d["oldData"]["votes"], d["newData"]["votes"]) for d in published.deltas]
    assert steps == [(number, number + 1) for number in range(30)]


def test_a_transaction_that_the_program_manages_itself_is_published_too(published):
    transaction.set_autocommit(False)
    try:
        Country.objects.create(code="es", name="Spain")
        assert published.requests == []
        transaction.commit()
        Country.objects.create(code="fr", name="France")
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    assert [delta["data"]["code"] for delta in published.deltas] == ["es"]


def test_in_a_django_test_case_what_would_be_published_can_be_looked_at(published):
    class Case(TestCase):
        databases = (DEFAULT_DB_ALIAS,)

        def test(self) -> None:
            Task.objects.create(title="before")
            with self.captureOnCommitCallbacks(execute=True):
                Task.objects.create(title="a")
                Task.objects.create(title="b")

    result = unittest.TestSuite([Case("test")]).run(unittest.TestResult())
    assert result.wasSuccessful(), result.errors + result.failures
    assert titles(published.deltas) == ["a", "b"]


def test_in_a_django_test_case_hooks_may_save_too(published):
    class Case(TestCase):
        databases = (DEFAULT_DB_ALIAS,)

        def test(self) -> None:
            with self.captureOnCommitCallbacks(execute=True):
                Task.objects.create(title="a")
                transaction.on_commit(lambda: Task(title="hook").save())
                Task.objects.create(title="c")

    result = unittest.TestSuite([Case("test")]).run(unittest.TestResult())
    assert result.wasSuccessful(), result.errors + result.failures
    assert sorted(titles(published.deltas)) == ["a", "c", "hook"]
