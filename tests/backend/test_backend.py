"""The blocking connector, against a real HTTP server."""

import json
import logging
import multiprocessing
import os
import ssl
import subprocess
import threading
import traceback
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from snorky.backend import NoAnswerError, SnorkyBackend, SnorkyError, SnorkyHTTPTransport
from tests.patience import patient

KEY = "swordfish-5f1c"

Connect = Callable[..., SnorkyBackend]


@pytest.fixture
def connect() -> Iterator[Connect]:
    transports = []

    def connect(url: str, timeout: float = patient(5), **options: Any) -> SnorkyBackend:
        transport = SnorkyHTTPTransport(url, KEY, timeout=timeout)
        transports.append(transport)
        return SnorkyBackend(transport, **options)

    yield connect
    for transport in transports:
        transport.close()


def test_a_call_gives_the_value_of_the_command(backend, connect):
    backend.answers({"sum": 3})
    assert connect(backend.url).call("calculator", "sum", a=1, b=2) == {"sum": 3}

    [request] = backend.requests
    assert request.path == "/backend"
    assert request.headers["x-backend-key"] == KEY
    assert request.headers["content-type"] == "application/json"
    assert request.envelope == {
        "service": "calculator",
        "message": {"command": "sum", "params": {"a": 1, "b": 2}},
    }


@pytest.mark.parametrize("value", [None, 0, "", [], "ñandú 🦜", {"deep": [1, None, True]}])
def test_any_value_comes_back_as_it_is(backend, connect, value):
    backend.answers(value)
    assert connect(backend.url).call("echo", "say", text=value) == value
    assert backend.requests[0].params == {"text": value}


def test_an_error_of_the_service_is_a_snorky_error_with_its_text(backend, connect):
    backend.refuses("No such dealer")
    with pytest.raises(SnorkyError) as raised:
        connect(backend.url).call("datasync_backend", "authorizeSubscription", items=[])
    assert str(raised.value) == "No such dealer"
    assert not isinstance(raised.value, RuntimeError)


def test_a_bare_envelope_is_sent_and_answered_bare(backend, connect):
    backend.sends(200, b'{"service": "echo", "message": "hello"}')
    envelope = {"service": "echo", "message": "hello"}
    snorky = connect(backend.url)
    assert snorky.send(envelope) == envelope
    assert snorky.transport.send(envelope) == envelope
    assert [request.envelope for request in backend.requests] == [envelope, envelope]


def test_a_status_is_a_runtime_error_and_the_log_tells_why(backend, connect, caplog):
    backend.sends(401, b'{"error": "Invalid API key"}')
    with pytest.raises(RuntimeError) as raised:
        connect(backend.url).call("echo", "say")
    assert str(raised.value) == "Error from Snorky server: 401 Unauthorized"
    assert not isinstance(raised.value, NoAnswerError)
    assert 'Error: 401 Unauthorized: {"error": "Invalid API key"}' in caplog.messages


def test_a_redirect_is_not_followed_with_the_key(backend, connect):
    backend.sends(302, b"", reason="Found")
    with pytest.raises(RuntimeError, match=r"^Error from Snorky server: 302 Found$"):
        connect(backend.url).call("echo", "say")
    assert len(backend.requests) == 1


def test_a_body_that_is_no_json_is_a_runtime_error(backend, connect):
    backend.sends(200, b"<h1>It works!</h1>")
    with pytest.raises(RuntimeError) as raised:
        connect(backend.url).call("echo", "say")
    assert str(raised.value) == "Non-JSON response from Snorky: <h1>It works!</h1>"


def test_a_body_that_is_no_text_is_a_runtime_error_too(backend, connect):
    backend.sends(200, b"\xff\xfe")
    with pytest.raises(RuntimeError, match=r"^Non-JSON response from Snorky: "):
        connect(backend.url).call("echo", "say")


def test_a_long_body_is_cut_in_the_error(backend, connect):
    backend.sends(200, b"x" * 100_000)
    with pytest.raises(RuntimeError, match="Non-JSON") as raised:
        connect(backend.url).call("echo", "say")
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("body", [b"[]", b"null", b'"hello"', b'{"service": "x", "message": 7}'])
def test_json_that_is_no_answer_is_a_runtime_error(backend, connect, body):
    backend.sends(200, body)
    with pytest.raises(RuntimeError, match="Expected a response or an error from Snorky, got"):
        connect(backend.url).call("echo", "say")


def test_a_server_that_is_away_is_a_runtime_error_that_says_where(nobody, connect):
    with pytest.raises(NoAnswerError, match="ConnectError") as raised:
        connect(nobody).call("echo", "say")
    assert isinstance(raised.value, RuntimeError)
    assert nobody in str(raised.value)


def test_a_server_that_does_not_answer_is_a_runtime_error(backend, connect):
    backend.hangs()
    with pytest.raises(NoAnswerError, match="ReadTimeout"):
        connect(backend.url, timeout=0.05).call("echo", "say")


def test_a_server_that_hangs_up_is_a_runtime_error_and_the_next_call_works(backend, connect):
    snorky = connect(backend.url)
    backend.hangs_up()
    with pytest.raises(NoAnswerError, match="RemoteProtocolError"):
        snorky.call("echo", "say")
    backend.answers("back")
    assert snorky.call("echo", "say") == "back"


def test_what_cannot_be_encoded_raises_in_the_caller(backend, connect):
    with pytest.raises(TypeError):
        connect(backend.url).call("echo", "say", text=object())
    assert backend.requests == []


def test_a_json_module_of_the_users_own_encodes_and_decodes(backend, connect):
    class Decimals:
        def dumps(self, obj: Any) -> bytes:
            return json.dumps(obj, default=str).encode()

        def loads(self, text: str) -> Any:
            return json.loads(text, parse_float=Decimal)

    backend.sends(200, b'{"service": "s", "message": {"type": "response", "data": 0.10}}')
    snorky = connect(backend.url, json=Decimals())
    assert snorky.call("shop", "price", offer=Decimal("1.50")) == Decimal("0.10")
    assert backend.requests[0].params == {"offer": "1.50"}


def test_a_transport_of_the_users_own_is_given_the_envelope_and_the_json_module():
    class Loopback:
        def send(self, message: Any, json: Any = json) -> Any:
            assert json.loads(json.dumps(message)) == message
            return {"service": "echo", "message": {"type": "response", "data": message}}

    answer = SnorkyBackend(Loopback()).call("echo", "say", text="hi")
    assert answer == {"service": "echo", "message": {"command": "say", "params": {"text": "hi"}}}


def test_an_answer_may_be_any_mapping():
    class Mapped:
        def send(self, message: Any, json: Any = json) -> Any:
            return UserDict(service="echo", message=UserDict(type="response", data=1))

    assert SnorkyBackend(Mapped()).call("echo", "say") == 1


def test_each_message_leaves_a_line_in_the_log(backend, connect, caplog):
    snorky = connect(backend.url)
    backend.answers(3)
    snorky.call("calculator", "sum", a=1)
    backend.refuses("Too big")
    with pytest.raises(SnorkyError):
        snorky.call("calculator", "sum", a=2)
    lines = [r.getMessage() for r in caplog.records if r.name == "snorky"]
    assert lines == [
        "Service: calculator, Call: sum {'a': 1}",
        "Response: 3",
        "Service: calculator, Call: sum {'a': 2}",
        "Error: Too big",
    ]
    assert {r.levelno for r in caplog.records if r.name == "snorky"} == {logging.DEBUG}


def test_a_bare_envelope_and_its_answer_leave_a_line_each(backend, connect, caplog):
    backend.sends(200, b'{"service": "echo", "message": "hi"}')
    connect(backend.url).send({"service": "echo", "message": "hello"})
    lines = [(r.levelno, r.getMessage()) for r in caplog.records if r.name == "snorky"]
    assert lines == [
        (logging.DEBUG, "Envelope: {'service': 'echo', 'message': 'hello'}"),
        (logging.DEBUG, "Answer: {'service': 'echo', 'message': 'hi'}"),
    ]


def test_the_key_is_in_no_log_and_no_error(backend, nobody, connect, caplog):
    caplog.set_level(1)
    snorky = connect(backend.url, timeout=0.05)
    texts = [repr(snorky.transport), repr(vars(snorky)), str(vars(snorky.transport))]

    def fail(snorky: SnorkyBackend) -> None:
        with pytest.raises(RuntimeError) as raised:
            snorky.call("echo", "say")
        texts.append(str(raised.value))
        # As error pages do, which show the local variables of every frame.
        trace = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
        texts.extend(line for line in trace.format() if "test_backend.py" not in line)

    backend.hangs_up()
    fail(snorky)
    backend.hangs()
    fail(snorky)
    fail(connect(nobody))
    texts += [f"{record.getMessage()} {record.args}" for record in caplog.records]
    assert any("No answer from Snorky" in text for text in texts)
    assert not [text for text in texts if KEY in text]


@pytest.mark.parametrize("status", [200, 500])
def test_a_key_that_a_server_echoes_is_hidden(backend, connect, caplog, status):
    backend.sends(status, f"You sent X-Backend-Key: {KEY}".encode())
    with pytest.raises(RuntimeError) as raised:
        connect(backend.url).call("echo", "say")
    texts = [str(raised.value), *caplog.messages]
    assert not [text for text in texts if KEY in text]
    assert any("You sent X-Backend-Key: [key]" in text for text in texts)


@pytest.mark.parametrize(
    "key", ["", "swordfish\n", " swordfish", "sword\x00fish", "sword\x85fish", "\ud800"]
)
def test_a_key_that_cannot_travel_is_refused_without_showing_it(key):
    with pytest.raises(ValueError, match="printable") as raised:
        SnorkyHTTPTransport("http://127.0.0.1:5002/backend", key)
    assert not key.strip() or key.strip() not in str(raised.value)


def test_a_key_may_be_of_any_language(backend):
    transport = SnorkyHTTPTransport(backend.url, "größer als 魚")
    with closing(transport):
        SnorkyBackend(transport).call("echo", "say")
    [request] = backend.requests
    assert request.headers["x-backend-key"].encode("latin-1").decode() == "größer als 魚"


@pytest.mark.parametrize("url", ["127.0.0.1:5002", "/backend", "ws://host/", "http://a:b/", ""])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="backend's URL"):
        SnorkyHTTPTransport(url, KEY)


def test_secrets_in_the_address_are_not_shown(nobody, connect):
    secret = nobody.replace("http://", "http://user:hunter2@") + "?token=hunter3"
    snorky = connect(secret)
    with pytest.raises(NoAnswerError) as raised:
        snorky.call("echo", "say")
    assert "hunter" not in f"{raised.value} {snorky.transport!r}"


def test_a_proxy_of_the_environment_is_not_given_the_key(backend, nobody, connect, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", nobody)
    monkeypatch.setenv("ALL_PROXY", nobody)
    backend.answers("direct")
    assert connect(backend.url).call("echo", "say") == "direct"


def test_a_server_without_a_trusted_certificate_is_not_given_the_key(backend, connect, tmp_path):
    certificate, private_key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    options = (
        "-x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(private_key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *options.split(), *files], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, private_key)
    backend.server.socket = tls.wrap_socket(backend.server.socket, server_side=True)
    with pytest.raises(NoAnswerError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(backend.url.replace("http:", "https:")).call("echo", "say")
    assert backend.requests == []


def test_calls_share_one_connection(backend, connect):
    snorky = connect(backend.url)
    for _ in range(5):
        snorky.call("echo", "say")
    assert len({request.connection for request in backend.requests}) == 1


def test_many_threads_share_a_transport(backend, connect):
    backend.answer = lambda handler, request: handler.reply(
        request, {"type": "response", "data": request.params["text"]}
    )
    snorky = connect(backend.url)
    mixed_up: list[tuple[str, Any]] = []

    def talk(name: str) -> None:
        for number in range(20):
            text = f"{name} {number}"
            answer = snorky.call("echo", "say", text=text)
            if answer != text:
                mixed_up.append((text, answer))

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed_up == []
    assert len(backend.requests) == 160
    assert len({request.connection for request in backend.requests}) <= 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_opens_a_connection_of_its_own(backend, connect):
    snorky = connect(backend.url)
    snorky.call("echo", "say", text="parent")
    child = multiprocessing.get_context("fork").Process(
        target=snorky.call, args=("echo", "say"), kwargs={"text": "child"}
    )
    child.start()
    child.join(patient(10))
    assert child.exitcode == 0
    snorky.call("echo", "say", text="parent again")

    first, forked, again = backend.requests
    assert forked.params == {"text": "child"}
    assert forked.connection != first.connection
    assert again.connection == first.connection
