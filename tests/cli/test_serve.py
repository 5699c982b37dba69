"""``snorky serve`` as a process: what it serves, what it refuses, how it stops."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import Any

import httpx2
import pytest
import websockets
from click.testing import CliRunner

from snorky import version
from snorky.cli import main

PUBSUB = """
from snorky import ServiceRegistry
from snorky.services.pubsub import PubSubBackend, PubSubService
pubsub = PubSubService("pubsub")
frontend = ServiceRegistry([pubsub])
backend = ServiceRegistry([PubSubBackend("pubsub_backend", pubsub)])
"""

SLOW = """
import asyncio
from snorky import ServiceRegistry
from snorky.services.base import RPCService, rpc_command
class Slow(RPCService):
    @rpc_command
    async def work(self, req):
        self.send_message_to(req.client, {"type": "begun"})
        await asyncio.sleep(0.5)
        return "done"
frontend = ServiceRegistry([Slow("slow")])
"""


def envelope(service: str, command: str, call_id: int = 0, **params: Any) -> str:
    message = {"command": command, "params": params, "callId": call_id}
    return json.dumps({"service": service, "message": message})


def publication(message: Any) -> dict[str, Any]:
    params = {"channel": "news", "message": message}
    return {"service": "pubsub_backend", "message": {"command": "publish", "params": params}}


async def test_it_serves_the_front_end_and_the_back_end(app, serve) -> None:
    server = serve(app(PUBSUB))
    async with (
        websockets.connect(server.url) as page,
        httpx2.AsyncClient(headers={"X-Backend-Key": "swordfish"}) as http,
    ):
        await page.send(envelope("pubsub", "subscribe", channel="news"))
        assert json.loads(await page.recv())["message"]["type"] == "response"
        response = await http.post(server.backend_url, json=publication({"n": 1}))
        assert response.status_code == 200
        assert json.loads(await page.recv())["message"]["message"] == {"n": 1}


def test_several_keys_in_the_environment_all_open_and_others_do_not(app, serve) -> None:
    server = serve(app(PUBSUB), SNORKY_API_KEY="new-key, old-key")
    for key, status in (("new-key", 200), ("old-key", 200), ("new-key, old-key", 401), ("", 401)):
        headers = {"X-Backend-Key": key}
        response = httpx2.post(server.backend_url, headers=headers, json=publication(1))
        assert response.status_code == status, key
    assert not any("new-key" in line or "old-key" in line for line in server.lines)


def test_a_front_end_alone_needs_no_key_and_has_no_back_end(app, serve) -> None:
    server = serve(app(SLOW), SNORKY_API_KEY="")
    assert httpx2.post(server.backend_url, json=publication(1)).status_code == 404


def test_live_is_on_both_ports_and_metrics_on_the_private_one(app, serve) -> None:
    server = serve(app(PUBSUB))
    public, private = (f"http://127.0.0.1:{p}" for p in (server.port, server.backend_port))
    assert httpx2.get(f"{public}/live").json() == {"status": "live"}
    assert httpx2.get(f"{private}/live").json() == {"status": "live"}
    assert "snorky_clients 0.0" in httpx2.get(f"{private}/metrics").text
    assert httpx2.get(f"{public}/metrics").status_code == 404


def test_pages_can_load_the_client_from_it(app, serve) -> None:
    server = serve(app(PUBSUB))
    response = httpx2.get(f"http://127.0.0.1:{server.port}/static/snorky.js")
    assert response.status_code == 200
    assert "javascript" in response.headers["content-type"]
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("origin", "options", "accepted"),
    [
        ("http://127.0.0.1:8000", (), True),
        ("null", (), False),
        ("null", ("--allowed-origin", "https://shop.example"), False),
        ("null", ("--allowed-origin", "null"), True),
        ("https://evil.example", (), False),
        ("https://shop.example", ("--allowed-origin", "https://shop.example"), True),
        ("https://shop.example", ("--allowed-origin", "https://*.example"), True),
        ("https://shop.evil", ("--allowed-origin", "https://*.example"), False),
        ("file://", ("--allowed-origin", "file://"), True),
        ("https://evil.example", ("--allowed-origin", "*"), True),
    ],
)
async def test_the_origin_of_a_page_is_checked(app, serve, origin, options, accepted) -> None:
    server = serve(app(PUBSUB), *options)
    assert await status_of_handshake(server.url, origin) == (101 if accepted else 403)


async def status_of_handshake(url: str, origin: str) -> int:
    try:
        async with websockets.connect(url, origin=websockets.Origin(origin)) as page:
            assert page.response is not None
            return page.response.status_code
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


async def test_the_access_log_has_a_line_for_each_connection_without_its_query(app, serve) -> None:
    server = serve(app(PUBSUB))
    async with websockets.connect(server.url + "?token=secret"):
        line = server.wait_for("GET /ws 101")
    assert "secret" not in "".join(server.lines)
    assert "127.0.0.1" in line.string


async def test_the_log_says_what_to_do_for_a_page_that_may_not_connect(app, serve) -> None:
    server = serve(app(PUBSUB))
    for origin in ("https://evil.example", "null"):
        assert await status_of_handshake(server.url, origin) == 403
        server.wait_for(f"Page of origin {origin} refused: .* --allowed-origin {origin} of snorky")
        server.wait_for("GET /ws 403 127.0.0.1")


async def test_a_trusted_proxy_says_who_connects(app, serve) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    for options, address in (((), "127.0.0.1"), (("--trusted-proxy", "127.0.0.1"), "203.0.113.7")):
        server = serve(app(PUBSUB), *options)
        async with websockets.connect(server.url, additional_headers=forwarded):
            line = server.wait_for("GET /ws 101")
            assert f" {address} " in line.string


async def test_sigterm_tells_clients_to_come_back_and_ends_well(app, serve) -> None:
    server = serve(app(PUBSUB))
    async with websockets.connect(server.url) as page:
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(websockets.ConnectionClosed):
            await page.recv()
        assert page.close_code == 1001
    assert await asyncio.to_thread(server.end) == 0


async def test_sigint_ends_it_well_too(app, serve) -> None:
    server = serve(app(PUBSUB))
    assert server.port
    assert await asyncio.to_thread(server.stop, signal.SIGINT) == 0


async def test_calls_under_way_are_answered_before_it_ends(app, serve) -> None:
    server = serve(app(SLOW))
    async with websockets.connect(server.url) as page:
        await page.send(envelope("slow", "work"))
        assert json.loads(await page.recv())["message"] == {"type": "begun"}
        server.process.send_signal(signal.SIGTERM)
        assert json.loads(await page.recv())["message"]["data"] == "done"
    assert await asyncio.to_thread(server.end) == 0


async def test_a_client_that_does_not_say_goodbye_does_not_hold_it_up(app, serve) -> None:
    server = serve(app(PUBSUB))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    begun = time.monotonic()
    assert await asyncio.to_thread(server.stop) == 0
    assert time.monotonic() - begun < 10
    writer.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "must define frontend = ServiceRegistry([...]); got nothing"),
        ("frontend = []", "got list"),
        (PUBSUB + "backend = 1", "backend in"),
        (PUBSUB, "there is no key for it"),
        (PUBSUB + "api_key = 'k'\nallowed_origins = '*'", "must be a list; got str"),
        (PUBSUB + "api_key = 'k'\nallowed_origins = ['shop.example']", "got 'shop.example'"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused_with_the_reason(
    app, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.delenv("SNORKY_API_KEY", raising=False)
    result = CliRunner().invoke(main, ["serve", str(app(text))])
    assert result.exit_code == 1
    assert says in result.output


def test_without_a_file_it_serves_lists_which_need_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNORKY_API_KEY", raising=False)
    served = CliRunner().invoke(main, ["serve"])
    assert (served.exit_code, "there is no key for it" in served.output) == (1, True)
    reloaded = CliRunner().invoke(main, ["serve", "--reload"])
    assert (reloaded.exit_code, "--reload needs a FILE" in reloaded.output) == (2, True)


def test_an_error_in_the_file_is_shown_with_its_place(app, run_program) -> None:
    program = run_program([sys.executable, "-m", "snorky", "serve", str(app("1 / 0"))])
    program.wait_for("ZeroDivisionError")
    program.wait_for(r"app.py\", line 1")
    assert program.end() == 1
    assert not any("click" in line or "importlib" in line for line in program.lines)


def test_a_port_that_is_taken_is_named(app, serve, run_program) -> None:
    port = str(serve(app(SLOW)).port)
    second = run_program([sys.executable, "-m", "snorky", "serve", str(app(SLOW)), "--port", port])
    second.wait_for(f"Cannot listen on 127.0.0.1 port {port}: Address already in use. Stop what")
    assert second.end() == 1


def test_a_syntax_error_in_the_file_is_shown_with_its_place(app) -> None:
    result = CliRunner().invoke(main, ["serve", str(app("frontend = ("))])
    assert result.exit_code == 1
    assert "was never closed" in result.output
    assert 'app.py", line 1' in result.output


def test_a_port_out_of_range_is_refused(app) -> None:
    result = CliRunner().invoke(main, ["serve", str(app(SLOW)), "--port", "70000"])
    assert result.exit_code == 2
    assert "70000 is not in the range 0<=x<=65535" in result.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--allowed-origin", "shop.example"),
            "or 'null', or '*'; got 'shop.example'",
        ),
        (("--allowed-origin", "https://*"), "as https://example.com or https://*.example.com"),
        (("--allowed-origin", "https://a.*.example"), "got 'https://a.*.example'"),
        (("--allowed-origin", "*.example.com"), "got '*.example.com'"),
        (("--allowed-host", "https://live.example.com"), "as live.example.com or *.example.com"),
        (("--allowed-host", "live.example.com:443"), "got 'live.example.com:443'"),
        (("--trusted-proxy", "nginx"), "an IP address, as 127.0.0.1, or a network"),
        (("--trusted-proxy", "10.0.0.1/8"), "got '10.0.0.1/8' (10.0.0.1/8 has host bits set)"),
    ],
)
def test_what_could_never_match_is_refused(app, options: tuple[str, str], says: str) -> None:
    result = CliRunner().invoke(main, ["serve", str(app(SLOW)), *options])
    assert result.exit_code == 1
    assert says in result.output


def test_help_and_version() -> None:
    assert "serve" in CliRunner().invoke(main, ["--help"]).output
    text = CliRunner().invoke(main, ["serve", "--help"]).output
    for option in (
        "--host",
        "--port",
        "--backend-port",
        "--allowed-origin",
        "--allowed-host",
        "--page",
        "--unix-socket",
        "--trusted-proxy",
        "SNORKY_API_KEY",
    ):
        assert option in text
    assert version in CliRunner().invoke(main, ["--version"]).output
