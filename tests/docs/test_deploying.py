"""The files of the page on deploying, in use: the real proxies, and the unit's own command."""

from __future__ import annotations

import asyncio
import json
import resource
import shlex
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx2
import pytest
import websockets

from snorky.cli.serve import serve as serve_command
from snorky.limits import DEFAULT_LIMITS
from tests.browser.conftest import listens, wait_for
from tests.docs.debian_programs import program
from tests.docs.proxies import CADDY, NGINX, make_certificate
from tests.patience import patient
from tests.ports import free_port

FILES = Path(__file__).parent.parent.parent / "docs" / "examples" / "deploying"
SNORKY = str(Path(sys.executable).with_name("snorky"))
SECONDS = patient(20)


@dataclass
class Site:
    """Snorky behind a proxy, as its visitors see it."""

    server: Any
    port: int
    trust: ssl.SSLContext

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def connect(self, **options: Any) -> Any:
        return websockets.connect(f"wss://127.0.0.1:{self.port}/ws", ssl=self.trust, **options)

    def http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.address, verify=self.trust, timeout=SECONDS)

    async def open_session(self, http: httpx2.AsyncClient) -> dict[str, str]:
        """A session without WebSocket that is subscribed to the channel "news"."""
        session = {"session": (await http.post("/comet")).json()["session"]}
        body = json.dumps({"first": 1, "messages": [call("subscribe", channel="news")]})
        answer = await http.post("/comet/messages", params=session, content=body)
        assert answer.json() == {"received": 1}
        return session

    async def publish(self, message: str) -> None:
        """As the web application does, which needs no proxy."""
        body = call("publish", channel="news", message=message).replace(
            '"news"', '"news_backend"', 1
        )
        async with httpx2.AsyncClient(timeout=SECONDS) as http:
            headers = {"X-Backend-Key": "swordfish"}
            answer = await http.post(self.server.backend_url, headers=headers, content=body)
        assert answer.status_code == 200


def call(command: str, **params: Any) -> str:
    message = {"command": command, "params": params, "callId": 1}
    return json.dumps({"service": "news", "message": message})


def changed(file: str, **replaced: str) -> str:
    """A file of the page with some of its words replaced; each must be there."""
    text = (FILES / file).read_text()
    for word, replacement in replaced.items():
        assert word in text
        text = text.replace(word, replacement)
    return text


@pytest.fixture(params=["nginx", "caddy"])
def site(
    request: pytest.FixtureRequest,
    serve: Callable[..., Any],
    run_program: Callable[..., Any],
    tmp_path: Path,
) -> Site:
    key, certificate = make_certificate(tmp_path)
    server = serve(FILES / "live.py", "--trusted-proxy", "127.0.0.1")
    port = free_port()
    words = {"127.0.0.1:5001": f"127.0.0.1:{server.port}"}
    if request.param == "nginx":
        words |= {"listen 443": f"listen 127.0.0.1:{port}"}
        words |= {"/etc/ssl/live.example.com.pem": str(certificate)}
        words |= {"/etc/ssl/live.example.com.key": str(key)}
        (tmp_path / "live.conf").write_text(changed("nginx.conf", **words))
        (tmp_path / "nginx.conf").write_text(NGINX)
        command, env = program("nginx", "usr/sbin/nginx")
        arguments = ["-p", str(tmp_path), "-c", "nginx.conf", "-e", "stderr"]
    else:
        words |= {"live.example.com {": f"https://127.0.0.1:{port} {{\n\ttls {certificate} {key}"}
        (tmp_path / "Caddyfile").write_text(CADDY + changed("Caddyfile", **words))
        command, env = program("caddy", "usr/bin/caddy")
        arguments = ["run", "--config", str(tmp_path / "Caddyfile")]
        env = {**env, "HOME": str(tmp_path)}
    proxy = run_program([command, *arguments], cwd=tmp_path, **env)
    wait_for(lambda: listens(port) or proxy.process.poll() is not None, "the proxy listens")
    assert proxy.process.poll() is None, proxy.lines
    return Site(server, port, ssl.create_default_context(cafile=str(certificate)))


async def received(socket: websockets.ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), SECONDS))["message"]


async def test_websockets_come_through_a_proxy(site: Site) -> None:
    async with site.connect(origin=site.address) as one, site.connect() as two:
        await one.send(call("subscribe", channel="news"))
        assert (await received(one))["type"] == "response"
        await two.send(call("publish", channel="news", message="Spam"))
        assert (await received(two))["message"] == "Not authorized"  # it is no open relay
        await site.publish("Hello")
        assert (await received(one))["message"] == "Hello"
        assert await asyncio.to_thread(site.server.stop) == 0
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await received(one)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_the_origins_that_are_listed_may_connect_and_no_others(site: Site) -> None:
    async with site.connect(origin="https://www.example.com"):
        pass
    with pytest.raises(websockets.InvalidStatus, match="403"):
        await site.connect(origin="https://elsewhere.example")


async def test_events_come_through_a_proxy_while_the_response_goes_on(site: Site) -> None:
    async with site.http() as http:
        session = await site.open_session(http)
        async with http.stream("GET", "/comet/events", params={**session, "after": 0}) as events:
            lines = events.aiter_lines()
            async with asyncio.timeout(SECONDS):
                while "response" not in await anext(lines):
                    pass
                for message in ("one", "two"):  # each before the next is published
                    await site.publish(message)
                    while f'"{message}"' not in await anext(lines):
                        pass
        await http.post("/comet/close", params=session)


async def test_long_polls_come_through_a_proxy(site: Site) -> None:
    async with site.http() as http:
        session = await site.open_session(http)
        first = (await http.get("/comet/poll", params={**session, "after": 0})).json()
        poll = asyncio.create_task(
            http.get("/comet/poll", params={**session, "after": first["after"]})
        )
        await site.publish("Hello")
        [envelope] = (await poll).json()["messages"]
        assert envelope["message"]["message"] == "Hello"
        await http.post("/comet/close", params=session)


async def test_who_connects_is_who_the_proxy_says_and_not_who_they_say(site: Site) -> None:
    lies = dict.fromkeys(("X-Forwarded-For", "X-Real-Ip"), "192.0.2.7")
    options = {"additional_headers": lies, "local_addr": ("127.0.0.2", 0)}
    async with site.connect(**options):
        await asyncio.to_thread(site.server.wait_for, r"127\.0\.0\.2")
    assert not any("192.0.2.7" in line for line in site.server.lines)


async def test_the_back_end_and_the_metrics_are_not_for_visitors(site: Site) -> None:
    async with site.http() as http:
        assert (await http.get("/live")).json() == {"status": "live"}
        for path in ("/metrics", "/backend"):
            assert (await http.get(path)).status_code == 404


def directives(file: str) -> dict[str, str]:
    lines = (FILES / file).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    unit = tmp_path / "snorky.service"
    unit.write_text(changed("snorky.service", **{"/opt/snorky/venv/bin/snorky": SNORKY}))
    analyze, env = program("systemd", "usr/bin/systemd-analyze")
    for command in (["verify", "--man=no"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(
            [analyze, "--no-pager", *command, str(unit)],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", **env},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert str(unit) not in done.stderr, done.stderr


async def test_the_command_of_the_unit_serves_and_stops_in_time(
    run_program: Callable[..., Any],
) -> None:
    unit, env = directives("snorky.service"), directives("snorky.env")
    _, file, *options = shlex.split(unit["ExecStart"])[1:]
    ports = {"--port": free_port(), "--backend-port": free_port()}
    more = [str(word) for option in ports.items() for word in option]
    command = [SNORKY, "serve", file, *options, *more]
    limit = (
        f"--nofile={min(int(unit['LimitNOFILE']), resource.getrlimit(resource.RLIMIT_NOFILE)[1])}"
    )
    running = run_program(["prlimit", limit, *command], cwd=FILES, **env)
    running.wait_for("/live at")
    url = f"http://127.0.0.1:{ports['--backend-port']}/backend"
    publish = call("publish", channel="news", message=1).replace('"news"', '"news_backend"', 1)
    async with httpx2.AsyncClient() as http:
        headers = {"X-Backend-Key": env["SNORKY_API_KEY"]}
        assert (await http.post(url, headers=headers, content=publish)).status_code == 200
        assert (await http.post(url, content=publish)).status_code in (401, 403)
    # A page that never says goodbye.
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["--port"])
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: c25vcmt5c25vcmt5c25vcg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " in await asyncio.wait_for(reader.readline(), SECONDS)
    assert await asyncio.to_thread(running.stop) == 0
    writer.close()
    await writer.wait_closed()


def test_the_times_and_the_sockets_of_the_unit_are_enough() -> None:
    unit = directives("snorky.service")
    drain = next(each.default for each in serve_command.params if each.name == "drain")
    assert int(unit["TimeoutStopSec"]) >= drain + 3 * DEFAULT_LIMITS.close_timeout
    assert int(unit["LimitNOFILE"]) > DEFAULT_LIMITS.max_connections


def test_the_container_serves_and_says_that_it_is_healthy(
    run_program: Callable[..., Any],
) -> None:
    words = dict(
        line.split(" ", 1) for line in (FILES / "Dockerfile").read_text().splitlines() if line
    )
    ports = {5001: str(free_port()), 5002: str(free_port())}
    _, *command = json.loads(words["CMD"])
    more = ["--port", ports[5001], "--backend-port", ports[5002]]
    container = run_program([SNORKY, *command, *more], cwd=FILES, SNORKY_API_KEY="swordfish")
    container.wait_for("/live at")
    check = json.loads(words["HEALTHCHECK"].removeprefix("CMD "))
    check = [sys.executable, *check[1:-1], check[-1].replace("5002", ports[5002])]
    assert subprocess.run(check, timeout=SECONDS).returncode == 0
    with urlopen(f"http://127.0.0.1:{ports[5002]}/metrics", timeout=SECONDS) as metrics:
        assert b"snorky_clients 0" in metrics.read()
    assert container.stop() == 0
    sick = subprocess.run(check, timeout=SECONDS, capture_output=True)
    assert sick.returncode != 0
