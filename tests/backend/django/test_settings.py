"""Settings are read when needed, and what is made from them is a plain SnorkyBackend."""

import subprocess
import sys
import threading
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.test import override_settings
from taskapp.models import Task

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.django import connector, http_transport, snorky_backend


class Shouting(DjangoJSONEncoder):
    def default(self, o):
        return "SOMETHING" if isinstance(o, set) else super().default(o)


def run(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    return result.stdout + result.stderr


def test_importing_needs_no_settings_and_the_first_use_says_that_they_are_missing():
    assert run("from snorky.backend.django import *; print('imported')") == "imported\n"
    output = run("from snorky.backend.django import snorky_backend as s; s.call('a', 'b')")
    assert "SNORKY_BACKEND_URL, but settings are not configured" in output


def test_the_connector_imports_no_server():
    program = (
        "import sys; before = set(sys.modules); import snorky; own = set(sys.modules);"
        "import snorky.backend, snorky.backend.aio, snorky.backend.django;"
        "new = set(sys.modules) - own;"
        "print([m for m in new if m.split('.')[0] in ('tornado', 'uvloop', 'prometheus_client')"
        " or m.startswith('snorky.') and not m.startswith('snorky.backend')])"
    )
    assert run(program) == "[]\n"


def test_the_ready_backend_calls_any_service(snorky):
    snorky.answers("done")
    assert isinstance(snorky_backend, SnorkyBackend)
    assert isinstance(http_transport, SnorkyHTTPTransport)
    assert snorky_backend.call("pubsub_backend", "publish", channel="c", message=1) == "done"
    assert http_transport.send({"service": "s", "message": 1})["service"] == "s"
    assert "swordfish" not in f"{http_transport!r} {snorky_backend!r}"


def test_requests_that_come_first_together_share_one_transport(snorky, monkeypatch):
    made: list[Any] = []
    second = threading.Event()

    class Counted(connector.RestingHTTPTransport):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(self)
            if len(made) > 1:
                second.set()
            second.wait(0.1)  # for another to be made beside this one
            super().__init__(*args, **kwargs)

    def send() -> None:
        http_transport.send({"service": "s", "message": 1})

    monkeypatch.setattr(connector, "RestingHTTPTransport", Counted)
    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(snorky.requests) == 4
    assert len(made) == 1


def test_the_service_may_have_another_name(snorky, published):
    with override_settings(SNORKY_DATASYNC_SERVICE="private"):
        Task.objects.create(title="a")
    assert [request.envelope["service"] for request in snorky.requests] == ["private"]


@pytest.mark.parametrize("encoder", [Shouting, "test_settings_encoder.Shouting"])
def test_the_encoder_may_be_a_class_or_a_dotted_path(snorky, monkeypatch, encoder):
    monkeypatch.setitem(sys.modules, "test_settings_encoder", sys.modules[__name__])
    with override_settings(SNORKY_JSON_ENCODER=encoder):
        snorky_backend.call("echo", "say", text={1, 2})
    assert snorky.requests[0].params == {"text": "SOMETHING"}


def test_an_encoder_that_is_none_is_the_default_one(snorky):
    with override_settings(SNORKY_JSON_ENCODER=None):
        snorky_backend.call("echo", "say", text="hello")
    assert snorky.requests[0].params == {"text": "hello"}
