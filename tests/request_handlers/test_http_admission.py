"""Who may use the HTTP back end, how much it reads, and how long it waits."""

import asyncio
import gc
import hmac
import json
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from tornado.web import Application, HTTPError

from snorky.limits import Limits
from snorky.request_handlers.http import BackendHTTPHandler, HTTPClient
from snorky.services.base import Request, RPCService, rpc_asynchronous, rpc_command
from tests.patience import patient
from tests.request_handlers.http_backend import KEY, Backend, refused

ECHO = {"service": "echo", "message": 1}


class Slow(RPCService):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.began = asyncio.Event()
        self.done = asyncio.Event()
        self.kept: list[Request] = []

    @rpc_command
    async def cook(self, req: Request) -> str:
        self.began.set()
        await self.done.wait()
        return "soup"

    @rpc_command
    @rpc_asynchronous
    def keep(self, req: Request) -> None:
        self.kept.append(req)
        self.began.set()


@pytest.fixture
async def backend(listen: Callable[..., int]) -> AsyncIterator[Backend]:
    async with httpx2.AsyncClient(timeout=patient(10), trust_env=False) as client:
        yield Backend(listen, client)


@pytest.fixture
async def slow(backend: Backend) -> Slow:
    service = Slow("slow")
    backend.registry.register_service(service)
    return service


def cook(command: str = "cook") -> dict[str, Any]:
    return {"service": "slow", "message": {"command": command, "params": {}}}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(patient(5)):
        while not condition():
            await asyncio.sleep(0.005)


class Raw:
    """A connection by hand, for what no HTTP client would send."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> "Raw":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *args: object) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass

    def send(self, *lines: str | bytes, body: bytes = b"") -> None:
        encoded = [line.encode() if isinstance(line, str) else line for line in lines]
        head = [b"POST /backend HTTP/1.1", b"Host: localhost", *encoded, b"", b""]
        self.writer.write(b"\r\n".join(head) + body)

    async def answer(self) -> tuple[int, Any]:
        async with asyncio.timeout(patient(5)):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = next(
                int(line.partition(":")[2])
                for line in head.splitlines()
                if line.lower().startswith("content-length")
            )
            return int(head.split()[1]), json.loads(await self.reader.readexactly(length))


# Keys


async def test_a_request_without_a_key_is_refused(backend: Backend, expect_log: Any) -> None:
    response = await backend.post(ECHO, key=None)

    refused(response, 401, "Unauthorized", "Missing X-Backend-Key header", expect_log)
    assert backend.echo.clients == []


@pytest.mark.parametrize(
    "key", ["", "Swordfish", "swordfis", "swordfish1", "sword fish", "swordfish, swordfish", "*"]
)
async def test_a_wrong_key_is_refused(backend: Backend, key: str, expect_log: Any) -> None:
    refused(await backend.post(ECHO, key=key), 401, "Unauthorized", "Invalid API key", expect_log)
    assert backend.echo.clients == []


@pytest.mark.parametrize("key", ["größer".encode(), "größer".encode("latin-1"), b"\xff\xfe"])
async def test_a_key_that_is_not_ascii_is_only_wrong(
    backend: Backend, key: bytes, expect_log: Any
) -> None:
    async with Raw(backend.port) as raw:
        raw.send(b"X-Backend-Key: " + key, "Content-Length: 2", body=b"{}")
        assert await raw.answer() == (401, {"error": "Invalid API key"})
    expect_log.all("401 POST /backend")


async def test_a_key_of_ours_may_have_any_letters(backend: Backend, expect_log: Any) -> None:
    backend.start(api_key="größer")

    assert (await backend.post(ECHO, key="größer".encode())).status_code == 200
    assert (await backend.post(ECHO, key="grosser")).status_code == 401
    expect_log.all("401 POST /backend")


@pytest.mark.parametrize("keys", [["old", "new"], ("old", "new"), {"old", "new"}])
async def test_keys_are_changed_without_a_pause(
    backend: Backend, keys: Any, expect_log: Any
) -> None:
    backend.start(api_key=keys)

    for key in ("old", "new", "old"):
        assert (await backend.post(ECHO, key=key)).status_code == 200
    assert (await backend.post(ECHO, key="older")).status_code == 401
    expect_log.all("401 POST /backend")


@pytest.mark.parametrize("keys", ["", [], [""], ()])
async def test_without_a_key_of_ours_nothing_opens(
    backend: Backend, keys: Any, expect_log: Any
) -> None:
    backend.start(api_key=keys)

    for key in ("", "swordfish"):
        assert (await backend.post(ECHO, key=key)).status_code == 401
    expect_log.all("401 POST /backend")


async def test_every_key_is_compared_in_constant_time(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def recording(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", recording)
    backend.start(api_key=["first", "second", "third"])
    await backend.post(ECHO, key="first")

    assert compared == [(b"first", b"first"), (b"first", b"second"), (b"first", b"third")]


async def test_a_key_is_never_logged(
    backend: Backend, caplog: pytest.LogCaptureFixture, expect_log: Any
) -> None:
    backend.start(api_key="our-secret")
    for key in ("our-secret", "their-secret"):
        for body in (json.dumps(ECHO).encode(), b"garbage"):
            await backend.post(body, key=key)

    lines = "\n".join(
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name.split(".")[0] in ("snorky", "tornado", "asyncio")
    )
    assert "POST /backend" in lines
    assert "secret" not in lines
    expect_log.all("POST /backend")


async def test_the_key_is_checked_before_the_body_is_parsed_or_kept(
    backend: Backend, expect_log: Any
) -> None:
    kept: list[int] = []

    class Watched(BackendHTTPHandler):
        def data_received(self, chunk: bytes) -> None:
            super().data_received(chunk)
            kept.append(len(self._body))

    backend.start(Watched)
    for body in (b"garbage", b"x" * 500, b"x" * 5000):
        response = await backend.post(body, key="wrong")
        refused(response, 401, "Unauthorized", "Invalid API key", expect_log)

    assert kept
    assert set(kept) == {0}


# An application's own check


async def test_an_application_checks_keys_in_its_own_way(backend: Backend, expect_log: Any) -> None:
    seen: list[Any] = []

    class Own(BackendHTTPHandler):
        def check_api_key(self, api_key: str) -> None:
            seen.append((api_key, self.api_key, self.service_registry, type(self.client)))
            if api_key != "open sesame":
                raise HTTPError(403, "Not %s", "today")

    backend.start(Own)
    assert (await backend.post(ECHO, key="open sesame")).json() == ECHO
    refused(await backend.post(ECHO), 403, "Forbidden", "Not today", expect_log)

    assert seen == [
        (key, KEY, backend.registry, HTTPClient) for key in ("open sesame", "swordfish")
    ]


async def test_a_refusal_without_a_text_says_what_its_status_means(
    backend: Backend, expect_log: Any
) -> None:
    class Own(BackendHTTPHandler):
        def check_api_key(self, api_key: str) -> None:
            raise HTTPError(403)

    backend.start(Own)
    refused(await backend.post(ECHO), 403, "Forbidden", "Forbidden", expect_log)


async def test_an_applications_check_may_look_into_its_database(
    backend: Backend, expect_log: Any
) -> None:
    class Own(BackendHTTPHandler):
        async def check_api_key(self, api_key: str) -> None:
            await asyncio.sleep(0)
            if api_key != "open sesame":
                raise HTTPError(401, "Invalid API key")

    backend.start(Own)
    assert (await backend.post(ECHO, key="open sesame")).json() == ECHO
    refused(await backend.post(ECHO), 401, "Unauthorized", "Invalid API key", expect_log)


async def test_an_applications_check_that_fails_lets_nobody_in(
    backend: Backend, expect_log: Any
) -> None:
    class Own(BackendHTTPHandler):
        def check_api_key(self, api_key: str) -> None:
            raise OSError("the key database is away")

    backend.start(Own)
    response = await backend.post(ECHO)

    refused(response, 500, "Internal Server Error", "Internal Server Error", expect_log)
    assert "the key database is away" in str(expect_log("Uncaught exception").exc_info[1])
    assert backend.echo.clients == []


# Sizes


def echo_of(size: int) -> bytes:
    """An envelope of ``size`` bytes."""
    start, end = b'{"service": "echo", "message": "', b'"}'
    return start + b"x" * (size - len(start) - len(end)) + end


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


async def test_a_body_may_be_as_long_as_the_limit_says(backend: Backend) -> None:
    assert (await backend.post(echo_of(1000))).status_code == 200
    assert (await backend.post(chunks(echo_of(1000)))).status_code == 200


@pytest.mark.parametrize("size", [1001, 5000, 15_000])
async def test_a_longer_body_is_refused_chunked_or_not(
    backend: Backend, size: int, expect_log: Any
) -> None:
    for body in (echo_of(size), chunks(echo_of(size))):
        response = await backend.post(body)
        text = "Expected at most 1000 bytes"
        assert response.status_code == 413
        refused(response, 413, response.reason_phrase, text, expect_log)
    assert backend.echo.clients == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_is_too_long_is_not_kept(
    backend: Backend, chunked: bool, expect_log: Any
) -> None:
    kept: list[int] = []

    class Watched(BackendHTTPHandler):
        def data_received(self, chunk: bytes) -> None:
            super().data_received(chunk)
            kept.append(len(self._body))

    backend.start(Watched)
    body = echo_of(15_000)
    assert (await backend.post(chunks(body) if chunked else body)).status_code == 413

    assert kept
    assert kept[-1] == 0
    if chunked:
        assert max(kept) <= 1000
    else:  # its length was announced
        assert set(kept) == {0}
    expect_log.all("413 POST /backend")


async def test_a_body_longer_than_all_reason_is_not_read_to_its_end(
    backend: Backend, expect_log: Any
) -> None:
    async with Raw(backend.port) as raw:
        raw.send(f"X-Backend-Key: {KEY}", "Content-Length: 16001")
        async with asyncio.timeout(patient(5)):
            assert b" 400 " in await raw.reader.readline()
            await raw.reader.read()
    expect_log.all("POST /backend")
    assert backend.echo.clients == []


async def test_a_body_in_pieces_is_put_together(backend: Backend) -> None:
    body = json.dumps(ECHO).encode()
    async with Raw(backend.port) as raw:
        raw.send(f"X-Backend-Key: {KEY}", f"Content-Length: {len(body)}")
        for byte in body:
            raw.writer.write(bytes([byte]))
            await raw.writer.drain()
        assert await raw.answer() == (200, ECHO)


async def test_a_body_that_does_not_come_ends_the_connection(backend: Backend) -> None:
    backend.start(limits=Limits(backend_timeout=0.1))
    async with Raw(backend.port) as raw:
        raw.send(f"X-Backend-Key: {KEY}", "Content-Length: 20", body=b"{")
        async with asyncio.timeout(patient(5)):
            assert await raw.reader.read() == b""
    assert backend.echo.clients == []


# Time


@pytest.mark.parametrize("command", ["cook", "keep"])
async def test_an_asynchronous_command_holds_the_request_open(
    backend: Backend, slow: Slow, command: str
) -> None:
    posting = asyncio.ensure_future(backend.post(cook(command)))
    await slow.began.wait()
    assert (await backend.post(ECHO)).json() == ECHO
    assert not posting.done()

    slow.done.set()
    for request in slow.kept:
        request.reply("soup")

    answer = {"type": "response", "data": "soup"}
    assert (await posting).json() == {"service": "slow", "message": answer}


async def test_a_service_that_does_not_answer_is_given_up(
    backend: Backend, slow: Slow, expect_log: Any
) -> None:
    backend.start(limits=Limits(backend_timeout=0.05))

    for envelope in (cook("keep"), {"service": "silent", "message": 1}):
        response = await backend.post(envelope)
        text = "The service did not answer in time"
        refused(response, 504, "Gateway Timeout", text, expect_log)

    slow.kept[0].reply("late")


@pytest.mark.parametrize("command", ["cook", "keep"])
async def test_a_request_whose_sender_hangs_up_is_forgotten(
    backend: Backend, slow: Slow, command: str
) -> None:
    body = json.dumps(cook(command)).encode()
    async with Raw(backend.port) as raw:
        raw.send(f"X-Backend-Key: {KEY}", f"Content-Length: {len(body)}", body=body)
        await slow.began.wait()
    client = next((request.client for request in slow.kept), None)
    if client is not None:
        await until(lambda: not client.connected)
        slow.kept[0].reply("late")
    slow.done.set()
    await until(lambda: not slow.tasks)


async def test_a_sender_that_hangs_up_leaves_no_request_waiting(
    backend: Backend, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    backend.start(limits=Limits(backend_timeout=0.2))
    body = json.dumps(cook("keep")).encode()
    async with Raw(backend.port) as raw:
        raw.send(f"X-Backend-Key: {KEY}", f"Content-Length: {len(body)}", body=body)
        await slow.began.wait()
    client = slow.kept[0].client
    await until(client.response.done)

    assert not [r for r in caplog.get_records("call") if r.levelno >= logging.WARNING]


async def test_a_sender_that_hangs_up_in_the_middle_of_its_body_is_forgotten(
    backend: Backend,
) -> None:
    handlers: weakref.WeakSet[BackendHTTPHandler] = weakref.WeakSet()

    class Watched(BackendHTTPHandler):
        async def prepare(self) -> None:
            await super().prepare()
            handlers.add(self)

    backend.start(Watched)
    async with Raw(backend.port) as raw:
        raw.send(f"X-Backend-Key: {KEY}", "Content-Length: 20", body=b"{")
        await until(lambda: handlers)

    def forgotten() -> bool:
        gc.collect()
        return not handlers

    await until(forgotten)


@pytest.mark.parametrize("length", ["abc", "1e3", "-5", "9" * 5000, "٣"])
async def test_a_length_that_is_none_is_the_senders_fault(
    backend: Backend, length: str, expect_log: Any, caplog: Any
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    head = f"POST /backend HTTP/1.1\r\nHost: x\r\nX-Backend-Key: {KEY}\r\nContent-Length: {length}"
    writer.write(f"{head}\r\n\r\n".encode())
    async with asyncio.timeout(patient(10)):
        answer = await reader.read(1000)
    assert answer == b"" or answer.split()[1] in (b"400", b"413")
    writer.close()
    expect_log.all("")
    assert "Traceback" not in caplog.text


async def test_cookies_against_forgery_are_not_asked_for(backend: Backend) -> None:
    options = {"service_registry": backend.registry, "api_key": KEY}
    application = Application([("/backend", BackendHTTPHandler, options)], xsrf_cookies=True)
    backend.url = f"http://127.0.0.1:{backend._listen(application)}/backend"
    assert (await backend.post(ECHO)).status_code == 200
