"""Who may come in to ``snorky serve``, by which name and from which page; and what the log says."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

APP = """
from snorky import ServiceRegistry
from snorky.identity import Refused
def authenticate(handshake):
    if "bad" in handshake.arguments:
        try:
            raise ValueError("s3cret")
        except ValueError as error:
            raise Refused(401, "Invalid token") from error
    return [handshake.remote_address, handshake.secure]
frontend = ServiceRegistry([], authenticate=authenticate)
backend = ServiceRegistry([])
"""

EVIL = {"Host": "evil.example:5001", "Origin": "http://evil.example:5001"}
FORWARDED = {"X-Forwarded-For": "203.0.113.7, 10.1.2.3", "X-Forwarded-Proto": "https"}


def test_a_name_that_only_leads_here_is_refused_whatever_is_asked_for(app: Any, serve: Any) -> None:
    server = serve(app(APP))
    for port, paths in (
        (server.port, ("/comet", "/sockjs/info", "/live", "/static/snorky.js")),
        (server.backend_port, ("/live", "/metrics")),
    ):
        for path in paths:
            url = f"http://127.0.0.1:{port}{path}"
            refused = httpx2.get(url, headers=EVIL)
            assert (refused.status_code, refused.text) == (
                403,
                "Host not allowed: evil.example:5001",
            )
            assert httpx2.get(url, headers={"Host": "localhost"}).status_code != 403
    assert httpx2.post(f"http://127.0.0.1:{server.port}/comet", headers=EVIL).status_code == 403
    server.wait_for(
        "GET /comet 403 .* not allowed: evil.example:5001. .* --allowed-host evil.example$"
    )


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def websocket_status(port: int, **headers: str) -> int:
    async with (
        httpx2.AsyncClient() as http,
        http.stream("GET", f"http://127.0.0.1:{port}/ws", headers=UPGRADE | headers) as response,
    ):
        return response.status_code


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ((), 403),
        (("--allowed-host", "good.example"), 403),
        (("--allowed-host", "*.example"), 101),
        (("--allowed-host", "*"), 101),
        # It is called what the proxy is called.
        (("--trusted-proxy", "127.0.0.1"), 101),
        (("--trusted-proxy", "127.0.0.1", "--allowed-host", "good.example"), 403),
        (("--host", "0.0.0.0"), 101),
        (("--host", "0.0.0.0", "--allowed-host", "good.example"), 403),
    ],
)
async def test_other_names_are_listed(app: Any, serve: Any, options: Any, status: int) -> None:
    server = serve(app(APP), *options)
    port = int(server.wait_for(r"ws://[\d.]+:(\d+)/ws")[1])
    assert await websocket_status(port, **EVIL) == status


def test_the_file_lists_names_too(app: Any, serve: Any) -> None:
    server = serve(app(APP + 'allowed_hosts = ["evil.example"]'))
    assert httpx2.get(f"http://127.0.0.1:{server.port}/live", headers=EVIL).status_code == 200


def test_refusals_say_why_and_tell_no_secret(app: Any, serve: Any) -> None:
    server = serve(app(APP))
    front = f"http://127.0.0.1:{server.port}"
    for path in ("/comet?bad=s3cret", "/sockjs/000/abcdefgh/xhr?bad=s3cret"):
        assert httpx2.post(front + path).status_code == 401
    for path in ("/ws", "/sockjs/websocket"):
        assert httpx2.get(f"{front}{path}?bad=s3cret", headers=UPGRADE).status_code == 401
        server.wait_for(rf"GET {path} 401 .* Invalid token \(ValueError\)$")
    server.wait_for(r"POST /comet 401 .* Invalid token \(ValueError\)$")
    server.wait_for(r"POST /sockjs/000/\S+/xhr 401 .* Invalid token \(ValueError\)$")
    for headers, why in (
        ({}, "Missing X-Backend-Key header"),
        ({"X-Backend-Key": "s3cret"}, "Invalid API key"),
    ):
        assert httpx2.post(server.backend_url, json=1, headers=headers).status_code == 401
        server.wait_for(f"POST /backend 401 .* {why}$")
    assert not any("s3cret" in line for line in server.lines)


def test_the_name_of_a_sockjs_session_is_not_in_the_log(app: Any, serve: Any) -> None:
    """Where nobody is asked who it is, the name is all that somebody else would need."""
    server = serve(app("from snorky import ServiceRegistry\nfrontend = ServiceRegistry([])"))
    base = f"http://127.0.0.1:{server.port}/sockjs/000/s3cret-name"
    assert httpx2.post(f"{base}/xhr").text == "o\n"
    assert httpx2.post(f"{base}/xhr_send", content='["{}"]').status_code == 204
    assert httpx2.post(f"{base}/nothing").status_code == 404
    server.wait_for(r"POST /sockjs/000/\*/xhr 200")
    server.wait_for(r"POST /sockjs/000/\*/xhr_send 204")
    server.wait_for(r"POST /sockjs/000/\*/nothing 404")
    assert not any("s3cret" in line for line in server.lines)


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ((), "127.0.0.1"),
        (("--trusted-proxy", "10.0.0.0/8"), "127.0.0.1"),
        (("--trusted-proxy", "127.0.0.0/8"), "10.1.2.3"),
        (("--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "10.0.0.0/8"), "203.0.113.7"),
    ],
)
async def test_proxies_may_be_named_as_a_network(
    app: Any, serve: Any, options: Any, address: str
) -> None:
    server = serve(app(APP), *options)
    assert httpx2.get(f"http://127.0.0.1:{server.port}/live", headers=FORWARDED).status_code == 200
    server.wait_for(f"GET /live 200 {re.escape(address)} ")
    async with websockets.connect(server.url, additional_headers=FORWARDED):
        server.wait_for(f"GET /ws 101 {re.escape(address)} ")


# Unix sockets


async def test_a_unix_socket_serves_the_proxy_on_this_machine(
    app: Any, serve: Any, tmp_path: Path
) -> None:
    path = tmp_path / "snorky.socket"
    server = serve(app(APP), "--unix-socket", str(path))
    server.wait_for(f"serves clients at unix:{path}:/ws")
    assert httpx2.get(f"http://127.0.0.1:{server.backend_port}/live").status_code == 200
    async with websockets.unix_connect(
        str(path), uri="ws://live.example.com/ws", additional_headers=FORWARDED
    ):
        server.wait_for("GET /ws 101 10.1.2.3 ")
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path))) as http:
        assert http.get("http://live.example.com/live").status_code == 200
        server.wait_for("GET /live 200 0.0.0.0 ")
    assert server.stop() == 0
    assert not path.exists()


def test_a_unix_socket_left_over_is_replaced_and_one_in_use_is_not(
    app: Any, serve: Any, run_program: Any, tmp_path: Path
) -> None:
    path = tmp_path / "snorky.socket"
    server = serve(app(APP), "--unix-socket", str(path))
    server.wait_for("serves clients")
    second = serve(app(APP), "--unix-socket", str(path))
    second.wait_for(f"Cannot listen on {path}: Address already in use. Stop what runs there")
    assert second.end() == 1
    os.kill(server.process.pid, 9)
    server.end()
    assert path.exists()
    third = serve(app(APP), "--unix-socket", str(path))
    third.wait_for("serves clients")
