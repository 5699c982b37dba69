"""Views that hand out subscriptions, asked as a page asks them."""

import unittest
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import TestCase, override_settings
from rest_framework.test import APIClient
from taskapp.models import Country, Task

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
