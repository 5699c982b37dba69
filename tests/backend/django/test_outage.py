"""Without Snorky the project goes on as if nothing were missing; the log and a count tell."""

import threading
from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import override_settings
from taskapp.models import Task

from snorky.backend import NoAnswerError
from snorky.backend.django import authorize_subscription, failures
from snorky.backend.django.connector import RestingHTTPTransport
from tests.patience import patient


@pytest.fixture
def lost() -> Iterator[object]:
    """``lost()`` -> publications, deltas and authorizations that failed in this test."""
    before = (failures.publications, failures.deltas, failures.authorizations)

    def lost() -> tuple[int, ...]:
        now = (failures.publications, failures.deltas, failures.authorizations)
        return tuple(after - start for after, start in zip(now, before, strict=True))

    return lost


def test_an_outage_does_not_fail_a_save(nobody, lost, expect_log):
    with override_settings(SNORKY_BACKEND_URL=nobody, SNORKY_API_KEY="swordfish"):
        with transaction.atomic():
            Task.objects.create(title="a")
            Task.objects.create(title="b")
        Task.objects.get(title="a").delete()
    assert Task.objects.get().title == "b"
    expect_log("2 deltas not published: No answer from Snorky at http://127.0.0.1:")
    expect_log("1 deltas not published: No answer from Snorky at http://127.0.0.1:")
    assert lost() == (2, 3, 0)


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (401, b"{}", "Error from Snorky server: 401 Unauthorized"),
        (500, b"", "Error from Snorky server: 500 Internal Server Error"),
        (200, b"hello", "Non-JSON response from Snorky: hello"),
    ],
)
def test_neither_does_an_answer_that_is_none(snorky, lost, expect_log, status, body, text):
    snorky.sends(status, body)
    Task.objects.create(title="a")
    expect_log(f"1 deltas not published: {text}")
    assert lost() == (1, 1, 0)


def test_neither_does_a_service_that_refuses(snorky, lost, expect_log):
    snorky.refuses("Missing field 'data'")
    Task.objects.create(title="a")
    expect_log("1 deltas not published: Missing field 'data'")
    assert lost() == (1, 1, 0)


def test_neither_do_settings_that_are_missing(lost, expect_log):
    Task.objects.create(title="a")
    record = expect_log("1 deltas not published")
    assert "The setting SNORKY_BACKEND_URL is missing" in str(record.exc_info[1])
    assert lost() == (1, 1, 0)


def test_when_it_is_back_changes_arrive_again(snorky, published, lost, expect_log):
    snorky.hangs_up()
    Task.objects.create(title="a")
    expect_log("1 deltas not published: No answer")
    snorky.answers(None)
    published.clear()
    Task.objects.create(title="b")
    reset, insert = published.deltas
    assert reset == {"type": "reset", "model": "Task"}
    assert insert["data"]["title"] == "b"


def test_a_server_that_hangs_delays_one_request_and_not_the_next_ones(snorky, lost, expect_log):
    snorky.hangs()
    with override_settings(SNORKY_TIMEOUT=0.3):
        for title in "abcd":
            Task.objects.create(title=title)
    assert len(snorky.requests) == 1
    expect_log("1 deltas not published: No answer from Snorky")
    assert expect_log.all("deltas not published: Snorky did not answer in time") == 3
    assert lost() == (4, 4, 0)


def test_after_its_rest_a_server_is_asked_again_by_one_request(backend):
    now = 100.0
    arrived, reply = threading.Event(), threading.Event()

    def hang_up_late(handler, request):
        nonlocal now
        now += 2
        handler.hang_up()

    def reply_when_told(handler, request):
        arrived.set()
        assert reply.wait(patient(10))
        handler.reply(request, {"type": "response", "data": None})

    transport = RestingHTTPTransport(backend.url, "swordfish", rest=10, clock=lambda: now)
    envelope = {"service": "echo", "message": 1}
    backend.answer = hang_up_late
    with pytest.raises(NoAnswerError, match="RemoteProtocolError"):
        transport.send(envelope)
    now = 111.9
    with pytest.raises(NoAnswerError, match=r"is asked again in 0.1 s"):
        transport.send(envelope)

    now = 112
    backend.answer = reply_when_told
    asking = threading.Thread(target=transport.send, args=(envelope,))
    asking.start()
    assert arrived.wait(patient(10))
    with pytest.raises(NoAnswerError, match="is asked again in"):
        transport.send(envelope)
    reply.set()
    asking.join()
    assert transport.send(envelope)["service"] == "echo"
    assert len(backend.requests) == 3
    transport.close()


def test_a_refused_connection_is_tried_each_time(nobody):
    transport = RestingHTTPTransport(nobody, "swordfish")
    for _ in range(3):
        with pytest.raises(NoAnswerError, match="ConnectError"):
            transport.send({"service": "echo", "message": 1})
    transport.close()


def test_an_authorisation_gives_the_token(snorky, lost):
    snorky.answers("t0ken")
    items = [{"dealer": "AllTasks", "query": None}]
    assert authorize_subscription(items) == "t0ken"
    [request] = snorky.requests
    assert request.envelope == {
        "service": "datasync_backend",
        "message": {"command": "authorizeSubscription", "params": {"items": items}},
    }
    assert lost() == (0, 0, 0)


def test_a_refused_authorisation_is_a_runtime_error(snorky, lost):
    snorky.refuses("No such dealer")
    with pytest.raises(RuntimeError, match=r"^Error from Snorky server: No such dealer$"):
        authorize_subscription([{"dealer": "Nobody", "query": None}])
    assert lost() == (0, 0, 1)


def test_an_authorisation_without_a_server_is_a_runtime_error(nobody, lost):
    with (
        override_settings(SNORKY_BACKEND_URL=nobody, SNORKY_API_KEY="swordfish"),
        pytest.raises(NoAnswerError),
    ):
        authorize_subscription([])
    assert lost() == (0, 0, 1)


def test_an_authorisation_without_settings_says_which_is_missing():
    with pytest.raises(ImproperlyConfigured, match="SNORKY_BACKEND_URL is missing"):
        authorize_subscription([])
    with (
        override_settings(SNORKY_BACKEND_URL="http://127.0.0.1:5002/backend"),
        pytest.raises(ImproperlyConfigured, match="SNORKY_API_KEY is missing"),
    ):
        authorize_subscription([])
