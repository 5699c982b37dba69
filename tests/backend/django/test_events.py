"""Events in a Django project: who may be connected, and what is sent when."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import path as url_path
from websockets.sync.client import connect

from snorky.backend.django import failures
from snorky.backend.django.events import connect_view, disconnect_view, event_urls, update
from tests.patience import patient

LIVE = Path(__file__).parents[3] / "docs" / "examples" / "events" / "live.py"


def may_connect(request: HttpRequest, path: str) -> bool:
    if path == "/denied":
        raise PermissionDenied("The reason is our own")
    return path.startswith(f"/of/{request.COOKIES.get('user')}/")


URLS = (
    *event_urls(may_connect),
    url_path("by-query", connect_view(may_connect)),
    url_path("leave", disconnect_view),
)
CSRF = "django.middleware.csrf.CsrfViewMiddleware"


@pytest.fixture
def alice() -> Iterator[Client]:
    with override_settings(ROOT_URLCONF=URLS):
        client = Client()
        client.cookies["user"] = "alice"
        yield client


def post(client: Client, url: str, paths: Any, **options: Any) -> Any:
    body = paths if isinstance(paths, bytes) else json.dumps(paths)
    options.setdefault("content_type", "application/json")
    response = client.post(url, body, **options)
    return response.status_code, json.loads(response.content or b"null")


def calls(snorky: Any) -> list[Any]:
    return [request.envelope for request in snorky.requests]


def call(command: str, service: str = "events_backend", **params: Any) -> Any:
    return {"service": service, "message": {"command": command, "params": params}}


# Permission


def test_a_page_is_connected_to_what_its_user_may_hear_of(snorky, alice):
    assert post(alice, "/events/connect/7f", ["/of/alice/1", "/of/alice/*"]) == (204, None)
    assert post(alice, "/by-query?id=7f", ["/of/alice/1"]) == (204, None)
    assert post(alice, "/events/disconnect/7f", ["/of/bob/1"]) == (204, None)
    assert post(alice, "/leave?id=7f", ["/of/alice/1"]) == (204, None)

    assert calls(snorky) == [
        call("connect", clientId="7f", path=["/of/alice/1", "/of/alice/*"]),
        call("connect", clientId="7f", path=["/of/alice/1"]),
        call("disconnect", clientId="7f", path=["/of/bob/1"]),
        call("disconnect", clientId="7f", path=["/of/alice/1"]),
    ]


def test_one_path_that_is_not_allowed_refuses_all_and_is_named(snorky, alice):
    for forbidden in ("/of/bob/1", "/denied", "", "*"):
        status, body = post(alice, "/events/connect/7f", ["/of/alice/1", forbidden, "/of/x/2"])
        assert status == 403
        assert body == {"error": f"You may not connect to {forbidden}", "path": forbidden}
    assert snorky.requests == []


@pytest.mark.parametrize(
    ("body", "options", "status", "error"),
    [
        (b"[", {}, 400, "Expected a JSON array of 1 to 1000 paths"),
        (b"\xff", {}, 400, "Expected a JSON array of 1 to 1000 paths"),
        (b"[" * 10_000, {}, 400, "Expected a JSON array of 1 to 1000 paths"),
        ("/of/alice/1", {}, 400, "Expected a JSON array of 1 to 1000 paths"),
        ([], {}, 400, "Expected a JSON array of 1 to 1000 paths"),
        (["/"] * 1001, {}, 400, "Expected a JSON array of 1 to 1000 paths"),
        (["/of/alice/1", 7], {}, 400, "Expected paths that are strings"),
        (["x" * 65536], {}, 413, "Expected at most 65536 bytes"),
        (["/of/alice/1"], {"content_type": "text/plain"}, 415, "Expected application/json"),
    ],
)
@pytest.mark.parametrize("url", ["/events/connect/7f", "/events/disconnect/7f"])
def test_what_is_no_list_of_paths_is_refused(snorky, alice, url, body, options, status, error):
    assert post(alice, url, body, **options) == (status, {"error": error})
    assert snorky.requests == []


@pytest.mark.parametrize("url", ["/events/connect/7f", "/events/disconnect/7f"])
def test_only_posts_are_answered(snorky, alice, url, expect_log):
    response = alice.get(url)
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert snorky.requests == []


def test_djangos_csrf_protection_holds(snorky, alice):
    with override_settings(MIDDLEWARE=[CSRF]):
        guarded = Client(enforce_csrf_checks=True)
        guarded.cookies["user"] = "alice"
        options = {"content_type": "application/json"}
        refused = guarded.post("/events/connect/7f", '["/of/alice/1"]', **options)
        assert refused.status_code == 403
        guarded.cookies["csrftoken"] = "x" * 32
        headers = {"X-CSRFToken": "x" * 32}
        assert post(guarded, "/events/connect/7f", ["/of/alice/1"], headers=headers)[0] == 204
    assert len(snorky.requests) == 1


def test_an_async_permission_would_always_be_true_and_is_refused():
    async def may_connect(request: HttpRequest, path: str) -> bool:
        return False

    with pytest.raises(TypeError, match="expected a plain function"):
        event_urls(may_connect)


def test_the_prefix_and_the_name_of_the_service_can_be_changed(snorky):
    urls = tuple(event_urls(lambda request, path: True, prefix="live/"))
    with override_settings(ROOT_URLCONF=urls, SNORKY_EVENTS_SERVICE="other"):
        assert post(Client(), "/live/connect/7f", ["/a"]) == (204, None)
        update("/a", 1)
    assert calls(snorky) == [
        call("connect", "other", clientId="7f", path=["/a"]),
        call("update", "other", path="/a", message=1),
    ]


def test_what_snorky_refuses_is_told_to_the_page(snorky, alice):
    snorky.refuses("Unknown client id")
    answer = post(alice, "/events/connect/7f", ["/of/alice/1"])
    assert answer == (410, {"error": "Unknown client id"})
    snorky.refuses("A path must be printable")
    answer = post(alice, "/events/connect/7f", ["/of/alice/\n"])
    assert answer == (400, {"error": "A path must be printable"})


def test_a_page_is_told_to_come_back_when_snorky_is_away(nobody, alice, expect_log):
    before = failures.authorizations
    with override_settings(SNORKY_BACKEND_URL=nobody, SNORKY_API_KEY="swordfish"):
        answer = post(alice, "/events/connect/7f", ["/of/alice/1"])
    assert answer == (503, {"error": "Snorky does not answer"})
    expect_log("A page is not connected to events: No answer from Snorky")
    assert failures.authorizations == before + 1


# Updates


def test_an_update_leaves_at_once_outside_of_a_transaction(snorky):
    update("/a", {"percent": 15})
    update("/b")
    assert calls(snorky) == [
        call("update", path="/a", message={"percent": 15}),
        call("update", path="/b", message=None),
    ]


def test_updates_of_a_transaction_leave_after_its_commit_in_order(snorky):
    message = {"percent": 15}
    with transaction.atomic():
        update("/a", message)
        message["percent"] = 20
        with transaction.atomic():
            update("/a", "rolled back")
            transaction.set_rollback(True)
        update("/a", message)
        update("/a", "at once", now=True)
        assert [each.params["message"] for each in snorky.requests] == ["at once"]
    sent = [each.params["message"] for each in snorky.requests]
    assert sent == ["at once", {"percent": 15}, {"percent": 20}]


def test_the_transaction_may_be_another_database_s(snorky):
    with transaction.atomic("other"):
        update("/a", "of the other", using="other")
        update("/a", "of the default")
        assert [each.params["message"] for each in snorky.requests] == ["of the default"]
    assert len(snorky.requests) == 2


def test_what_is_no_json_raises_where_it_is_said(snorky):
    with pytest.raises(TypeError), transaction.atomic():
        update("/a", object())
    assert snorky.requests == []


def test_an_outage_does_not_fail_the_request(nobody, snorky, expect_log):
    before = failures.publications
    with override_settings(SNORKY_BACKEND_URL=nobody):
        update("/a", 1)
    expect_log("Update of /a not sent: No answer from Snorky at http://127.0.0.1:")
    snorky.refuses("A path must be printable")
    update("/a", 1)
    expect_log("Update of /a not sent: A path must be printable")
    with override_settings(SNORKY_API_KEY=""), transaction.atomic():
        update("/a", 1)
    assert "The setting SNORKY_API_KEY is missing" in str(expect_log("not sent").exc_info[1])
    transaction.set_autocommit(False)
    try:
        update("/a", 1)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    expect_log("Update of /a not sent: autocommit is off")
    assert failures.publications == before + 4


# The whole way


def test_from_the_project_to_the_page(serve, alice):
    server = serve(LIVE)
    settings = {"SNORKY_BACKEND_URL": server.backend_url, "SNORKY_API_KEY": "swordfish"}
    with override_settings(**settings), connect(server.url) as page:

        def received() -> Any:
            return json.loads(page.recv(timeout=patient(20)))["message"]

        page.send(json.dumps(call("getId", "events")))
        client_id = received()["data"]
        assert post(alice, "/events/connect/guessed", ["/of/alice/1"])[0] == 410
        assert post(alice, f"/events/connect/{client_id}", ["/of/bob/1"])[0] == 403
        assert post(alice, f"/events/connect/{client_id}", ["/of/alice/1"])[0] == 204
        assert post(alice, f"/events/connect/{client_id}", ["/of/alice/*/*"]) == (
            400,
            {"error": "* must be at the end of a path, after a slash"},
        )
        update("/of/bob/1", "not for alice")
        update("/of/alice/1", {"percent": 15})
        expected = {"type": "update", "path": "/of/alice/1", "message": {"percent": 15}}
        assert received() == expected
        assert post(alice, f"/events/disconnect/{client_id}", ["/of/alice/1"])[0] == 204
        update("/of/alice/1", "left")
        page.send(json.dumps(call("getId", "events")))
        assert received()["data"] == client_id
