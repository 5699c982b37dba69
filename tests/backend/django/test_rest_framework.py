"""Views that hand out subscriptions, asked as a page asks them."""

import threading
import unittest
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import TestCase, override_settings
from rest_framework.test import APIClient
from taskapp.models import Country, Task

from snorky.backend.django import snapshots
from tests.patience import patient

TOKEN = "t0ken" * 8
TOKEN_HEADERS = {"X-Subscription-Token": TOKEN, "X-Subscription": TOKEN}


@pytest.fixture
def tasks(published: Any) -> None:
    for title in "abc":
        Task.objects.create(title=title)
    Task.objects.create(title="done", completed=True)
    published.clear()
    published.backend.answers(TOKEN)


@pytest.fixture
def page() -> APIClient:
    return APIClient()


def subscribe(page: APIClient, url: str, **headers: str) -> Any:
    return page.get(url, headers={"X-Snorky": "Subscribe", **headers})


def titles(response: Any) -> list[str]:
    rows = response.json()
    if isinstance(rows, dict):  # a page of them
        rows = rows["results"]
    return [row["title"] for row in rows]


def token_headers(response: Any) -> dict[str, str]:
    return {name: response[name] for name in TOKEN_HEADERS if name in response}


def items(snorky: Any) -> Any:
    assert snorky.commands() == ["head", "authorizeSubscription"]
    return snorky.requests[1].params["items"]


def test_the_manuals_viewset_needs_only_model_and_dealer(snorky, tasks, page):
    response = subscribe(page, "/api/tasks/")
    assert response.status_code == 200
    assert titles(response) == ["a", "b", "c", "done"]
    assert set(response.json()[0]) == {"id", "title", "completed", "due", "votes", "details"}
    assert token_headers(response) == TOKEN_HEADERS
    assert items(snorky) == [{"dealer": "AllTasks", "query": {"completed": False}}]


def test_its_other_methods_work_and_hand_out_no_subscription(snorky, tasks, page):
    url = f"/api/tasks/{Task.objects.get(title='a').pk}/"
    assert subscribe(page, url).json()["title"] == "a"
    assert page.patch(url, {"title": "A"}, headers={"X-Snorky": "Subscribe"}).status_code == 200
    assert page.post("/api/tasks/", {"title": "new"}, format="json").status_code == 201
    assert page.delete(url).status_code == 204
    assert snorky.commands() == ["publishDeltas"] * 3


def test_the_mixin_may_come_last(snorky, tasks, page):
    response = subscribe(page, "/api/reversed/")
    assert titles(response) == ["a", "b", "c", "done"]
    assert token_headers(response) == TOKEN_HEADERS
    assert items(snorky) == [{"dealer": "Task", "query": None}]


def test_a_subclass_with_another_model_lists_that_model(snorky, tasks, page):
    Country.objects.create(code="es", name="Spain")
    assert subscribe(page, "/api/countries/").json() == [
        {"id": "es", "code": "es", "name": "Spain"}
    ]


def test_a_view_may_say_everything_itself(snorky, tasks, page):
    response = subscribe(page, "/open/?title=a")
    assert response.json() == [{"title": "a"}, {"title": "b"}, {"title": "c"}]
    assert items(snorky) == [{"dealer": "OpenTasks", "query": ["==", "title", "a"]}]
    assert page.post("/open/", {"title": "d"}).status_code == 201


def test_naming_the_model_does_not_widen_an_inherited_queryset(snorky, tasks, page):
    assert titles(subscribe(page, "/open-again/")) == ["a", "b", "c"]


def test_a_subscription_may_have_several_items(snorky, tasks, page):
    subscribe(page, "/several/")
    assert [item["dealer"] for item in items(snorky)] == ["Tasks", "Users"]


def test_another_method_than_list_may_hand_out_subscriptions(snorky, tasks, page):
    pk = Task.objects.get(title="a").pk
    response = subscribe(page, f"/one/{pk}/")
    assert response.json() == {"title": "a"}
    assert token_headers(response) == TOKEN_HEADERS
    assert items(snorky) == [{"dealer": "Task", "query": pk}]


def test_a_page_of_a_list_can_be_subscribed_to(snorky, tasks, page):
    response = subscribe(page, "/paged/?page=2")
    assert titles(response) == ["c", "done"]
    assert token_headers(response) == TOKEN_HEADERS


@pytest.mark.parametrize("value", ["Subscribe", "subscribe", "SUBSCRIBE", " sUbScRiBe "])
def test_a_page_asks_in_any_case(snorky, tasks, page, value):
    response = page.get("/api/tasks/", headers={"X-Snorky": value})
    assert token_headers(response) == TOKEN_HEADERS


@pytest.mark.parametrize("headers", [{}, {"X-Snorky": ""}, {"X-Snorky": "Unsubscribe"}])
def test_who_does_not_ask_gets_no_token(snorky, tasks, page, headers):
    response = page.get("/api/tasks/", headers=headers)
    assert titles(response) == ["a", "b", "c", "done"]
    assert token_headers(response) == {}
    assert "Cache-Control" not in response
    assert snorky.requests == []


def test_no_cache_gives_a_token_to_another_page(snorky, tasks, page):
    asked, plain = subscribe(page, "/api/tasks/"), page.get("/api/tasks/")
    assert asked["Cache-Control"] == "no-store, private"
    for response in (asked, plain):
        assert "X-Snorky" in response["Vary"]
        assert "Accept" in response["Vary"]


def test_a_page_from_elsewhere_may_read_the_token(snorky, tasks, page):
    response = subscribe(page, "/api/tasks/", Origin="https://example.com")
    assert response["Access-Control-Expose-Headers"] == "X-Subscription-Token, X-Subscription"
    assert "Access-Control-Expose-Headers" not in subscribe(page, "/api/tasks/")


def test_the_token_is_asked_for_before_the_query(snorky, tasks, page):
    """What is committed while the token is made is in the list."""
    reply = snorky.answer

    def change_and_reply(handler, request):
        Task.objects.filter(title="a").update(title="changed meanwhile")
        connections.close_all()
        reply(handler, request)

    snorky.answer = change_and_reply
    assert titles(subscribe(page, "/api/tasks/"))[0] == "changed meanwhile"


def test_who_may_not_see_the_list_gets_no_token(snorky, tasks, page):
    response = subscribe(page, "/forbidden/")
    assert response.status_code == 403
    assert token_headers(response) == {}
    assert snorky.commands() == ["head"]


def test_without_snorky_the_page_gets_its_data(nobody, tasks, page, expect_log):
    with override_settings(SNORKY_BACKEND_URL=nobody):
        response = subscribe(page, "/api/tasks/")
    assert titles(response) == ["a", "b", "c", "done"]
    assert token_headers(response) == {}
    assert response["Cache-Control"] == "no-store, private"
    expect_log("TaskViewSet answers without subscription: No answer from Snorky at http://")


def test_a_refused_subscription_is_no_failure_of_the_page_either(snorky, tasks, page, expect_log):
    snorky.refuses("No such dealer")
    response = subscribe(page, "/api/tasks/")
    assert titles(response) == ["a", "b", "c", "done"]
    assert token_headers(response) == {}
    expect_log("TaskViewSet answers without subscription: Error from Snorky server: No such dealer")


@pytest.mark.parametrize(
    ("refuse", "text"),
    [
        (
            lambda snorky: snorky.refuses("No such dealer"),
            "No such dealer. Its dealers are AllTasks",
        ),
        (
            lambda snorky: snorky.sends(401, b"{}"),
            "401 Unauthorized.* the key are SNORKY_BACKEND_UR",
        ),
    ],
)
def test_a_developer_is_told_of_a_wrong_dealer_or_key_at_once(snorky, tasks, page, refuse, text):
    refuse(snorky)
    with override_settings(DEBUG=True), pytest.raises(ImproperlyConfigured, match=text):
        subscribe(page, "/api/tasks/")


def test_but_not_of_an_outage(nobody, tasks, page, expect_log):
    with override_settings(SNORKY_BACKEND_URL=nobody, DEBUG=True):
        assert subscribe(page, "/api/tasks/").status_code == 200
    expect_log("TaskViewSet answers without subscription: No answer from Snorky at http://")


def test_the_token_begins_where_the_log_was_before_permission_was_checked(snorky, tasks, page):
    snorky.requests.clear()
    subscribe(page, "/api/tasks/")
    assert snorky.commands() == ["head", "authorizeSubscription"]
    assert snorky.requests[1].params["after"] == TOKEN  # which is what this server says to all


def test_django_s_cache_keeps_no_token(snorky, tasks, page):
    first = subscribe(page, "/cached/")
    snorky.answers("another" * 6)
    second = subscribe(page, "/cached/")
    assert first["X-Subscription-Token"] == TOKEN
    assert second["X-Subscription-Token"] == "another" * 6
    plain = page.get("/cached/")
    Task.objects.all().delete()
    assert page.get("/cached/").json() == plain.json() != []  # it caches as it did
    assert "X-Subscription-Token" not in page.get("/cached/")


class ReadsElsewhere:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"


class WritesHere(ReadsElsewhere):
    def db_for_read(self, model: Any, **hints: Any) -> None:
        return None

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.mark.parametrize(
    ("url", "router"), [("/api/tasks/", ReadsElsewhere), ("/replica/", WritesHere)]
)
def test_rows_of_a_replica_are_refused(snorky, tasks, page, url, router):
    with (
        override_settings(DATABASE_ROUTERS=[router()]),
        pytest.raises(ImproperlyConfigured, match=r"'other'.* older .*queryset.using\('default'\)"),
    ):
        subscribe(page, url)


def test_a_database_that_is_marked_as_a_mirror_is_a_replica(snorky, tasks, page, monkeypatch):
    assert token_headers(subscribe(page, "/replica/")) == TOKEN_HEADERS
    snapshots._is_copy.cache_clear()
    mirror = connections["other"].settings_dict["TEST"] | {"MIRROR": "default"}
    monkeypatch.setitem(connections["other"].settings_dict, "TEST", mirror)
    with pytest.raises(ImproperlyConfigured, match="may be older"):
        subscribe(page, "/replica/")
    snapshots._is_copy.cache_clear()


def test_a_page_waits_for_the_commits_that_its_query_saw(snorky, tasks, page):
    """Otherwise what is published later would take it backwards."""
    reply, published = snorky.answer, threading.Event()

    def publish_late(handler: Any, request: Any) -> None:
        if request.envelope["message"]["command"] == "publishDeltas":
            committed.set()
            assert not answered.wait(0.5)
            published.set()
        reply(handler, request)

    def write() -> None:
        Task.objects.create(title="late")
        connections.close_all()

    snorky.answer = publish_late
    committed, answered = threading.Event(), threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    assert committed.wait(patient(10))
    response = subscribe(page, "/api/tasks/")
    answered.set()
    writer.join()
    assert "late" in titles(response)
    assert published.is_set()
    assert token_headers(response) == TOKEN_HEADERS


def test_a_page_whose_changes_cannot_be_published_gets_no_token(snorky, tasks, page, expect_log):
    reply = snorky.answer

    def lose(handler: Any, request: Any) -> None:
        if request.envelope["message"]["command"] == "publishDeltas":
            handler.respond(500, b"")
        else:
            reply(handler, request)

    snorky.answer = lose
    Task.objects.create(title="lost")
    expect_log("1 deltas not published: Error from Snorky server: 500")
    assert token_headers(subscribe(page, "/api/tasks/")) == {}
    expect_log("TaskViewSet answers without subscription: Error from Snorky server: 500")
    snorky.answer = reply
    assert token_headers(subscribe(page, "/api/tasks/")) == TOKEN_HEADERS
    assert snorky.requests[-2].params["deltas"] == [{"type": "reset", "model": "Task"}]


def test_a_view_that_names_no_dealer_says_so(snorky, page):
    with pytest.raises(AttributeError, match=r"^Missing dealer$"):
        page.get("/undecided/")


def test_in_a_transaction_that_may_see_less_it_refuses(snorky, tasks, page):
    with pytest.raises(ImproperlyConfigured, match=r"AtomicTasks.*default.*non_atomic_requests"):
        subscribe(page, "/atomic/")
    assert snorky.commands() == ["head"]
    assert page.get("/atomic/").status_code == 200


def test_with_atomic_requests_a_view_may_be_taken_out_of_the_transaction(
    snorky, tasks, page, monkeypatch
):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with pytest.raises(ImproperlyConfigured, match="non_atomic_requests"):
        subscribe(page, "/api/tasks/")
    assert token_headers(subscribe(page, "/non-atomic/")) == TOKEN_HEADERS


def test_a_django_test_case_may_ask_for_subscriptions(snorky, tasks, page):
    class Case(TestCase):
        def test(self) -> None:
            assert token_headers(subscribe(page, "/api/tasks/")) == TOKEN_HEADERS
            with pytest.raises(ImproperlyConfigured):
                subscribe(page, "/atomic/")

    result = unittest.TestSuite([Case("test")]).run(unittest.TestResult())
    assert result.wasSuccessful(), result.errors + result.failures
