"""The programs of the page about identity do what it says."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
import websockets
from tornado.web import Application, RequestHandler

from snorky.close_codes import DISCONNECTED, NOT_AUTHENTICATED
from tests.patience import patient
from tests.request_handlers.websocket_site import closed, received

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples" / "identity"
STATIC = EXAMPLES.parent.parent.parent / "snorky" / "static"
ENV = {"TOKEN_SECRET": "a secret of the tests, long enough", "SNORKY_API_KEY": "swordfish"}


def printed_by(program: str, *arguments: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / program), *arguments],
        env={**os.environ, **ENV, **env},
        capture_output=True,
        text=True,
        timeout=patient(30),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


async def call(socket: Any, service: str, command: str, **params: Any) -> Any:
    message = {"command": command, "params": params, "callId": 1}
    await socket.send(json.dumps({"service": service, "message": message}))
    answer = (await received(socket))["message"]
    return answer["data"] if answer["type"] == "response" else answer["message"]


async def test_tokens_let_in_are_renewed_and_their_owner_is_logged_out(
    serve: Callable[..., Any],
) -> None:
    server = serve(EXAMPLES / "live.py", **ENV)
    token = printed_by("make_token.py", "alice")
    with pytest.raises(websockets.InvalidStatus, match="401"):
        await websockets.connect(server.url)
    async with websockets.connect(
        server.url, subprotocols=["snorky", f"snorky.jwt.{token}"]
    ) as socket:
        assert await call(socket, "pubsub", "subscribe", channel="inbox of alice") is None
        refused = await call(socket, "pubsub", "subscribe", channel="inbox of bob")
        assert refused == "Not authorized"
        answer = await call(socket, "identity", "refresh", token=token)
        assert 600 < answer["expiresIn"] <= 630
        url = server.backend_url
        assert printed_by("log_out.py", "alice", SNORKY_BACKEND_URL=url) == "1 closed"
        assert await closed(socket) == DISCONNECTED
    assert not any(token in line for line in server.lines)


async def test_the_token_comes_in_the_first_message(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "first_message.py", **ENV)
    token = printed_by("make_token.py", "alice")
    async with websockets.connect(server.url) as socket:
        assert "expiresIn" in await call(socket, "identity", "refresh", token=token)
        assert await call(socket, "pubsub", "subscribe", channel="news") is None
    async with websockets.connect(server.url) as socket:
        await socket.send('{"service": "pubsub", "message": {"command": "join", "params": {}}}')
        assert await closed(socket) == NOT_AUTHENTICATED


async def test_who_is_logged_in_to_a_django_project_may_connect(
    serve: Callable[..., Any], run_program: Callable[..., Any]
) -> None:
    website = run_program([sys.executable, str(EXAMPLES / "website.py"), "0"])
    url = website.wait_for(r"^(http://127\.0\.0\.1:\d+)$")[1]
    server = serve(EXAMPLES / "by_cookie.py", WHOAMI_URL=f"{url}/whoami")
    for headers in ({}, {"Cookie": "sessionid=guessed"}):
        with pytest.raises(websockets.InvalidStatus, match="401"):
            await websockets.connect(server.url, additional_headers=headers)
    async with httpx2.AsyncClient() as browser:
        session = (await browser.get(f"{url}/login")).cookies["sessionid"]
    headers = {"Cookie": f"sessionid={session}"}
    async with websockets.connect(server.url, additional_headers=headers) as socket:
        assert await call(socket, "pubsub", "subscribe", channel="news") is None


def test_the_tokens_of_the_page_are_what_it_says() -> None:
    token = printed_by("make_token.py", "bob")
    claims = jwt.decode(token, ENV["TOKEN_SECRET"], algorithms=["HS256"], audience="live")
    assert claims["sub"] == "bob"


class LiveToken(RequestHandler):
    """The page of a web application that makes tokens for whoever is logged in."""

    def initialize(self, given: list[str]) -> None:
        self.given = given

    def post(self) -> None:
        claims = {"sub": "alice", "aud": "live", "exp": int(time.time()) + 6}
        claims["jti"] = str(len(self.given))
        self.given.append(jwt.encode(claims, ENV["TOKEN_SECRET"], algorithm="HS256"))
        self.finish(self.given[-1])


async def test_the_page_brings_new_tokens(
    serve: Callable[..., Any],
    run_program: Callable[..., Any],
    listen: Callable[..., Any],
    tmp_path: Path,
) -> None:
    given: list[str] = []
    website = listen(Application([("/live-token", LiveToken, {"given": given})]))
    server_file = tmp_path / "live.py"
    program = (EXAMPLES / "live.py").read_text()
    server_file.write_text(program.replace('audience="live"', 'audience="live", grace=6'))
    server = serve(server_file, **ENV)

    package = tmp_path / "node_modules" / "snorky"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "exports": "./snorky.mjs"}')
    shutil.copy(STATIC / "snorky.mjs", package)
    program = (EXAMPLES / "page.mjs").read_text().replace("ws://localhost:5001/ws", server.url)
    program = program.replace("/live-token", f"http://127.0.0.1:{website}/live-token")
    (tmp_path / "page.mjs").write_text(program + '\nconsole.log("Subscribed");\n')
    node = ["node", "--experimental-websocket", "--no-warnings", "page.mjs"]
    page = run_program(node, cwd=tmp_path)
    await asyncio.to_thread(page.wait_for, "Subscribed")

    # The third is asked for because the server took the second.
    async with asyncio.timeout(patient(60)):
        while len(given) < 3:
            await asyncio.sleep(0.05)
    protocols = ["snorky", f"snorky.jwt.{printed_by('make_token.py', 'bob')}"]
    async with websockets.connect(server.url, subprotocols=protocols) as bob:
        await call(bob, "pubsub", "publish", channel="inbox of alice", message="Hello")
    await asyncio.to_thread(page.wait_for, "Message: Hello")
    assert page.lines == ["Subscribed", "Message: Hello"]
    assert not any(token in line for line in server.lines for token in given)
