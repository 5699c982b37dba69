"""The programs of the pages about Messaging, Chat and Cursors do what they say."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from snorky.limits import DEFAULT_LIMITS
from snorky.services.base import RPCService
from snorky.services.chat import ChatService
from snorky.services.cursors import CursorsService
from snorky.services.joining import WITHDRAWN
from snorky.services.messaging import MessagingService
from tests.docs.test_examples import Page

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
PAGES = ROOT / "docs" / "guide"


async def test_messaging(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "messaging" / "live.py")
    async with websockets.connect(server.url) as one, websockets.connect(server.url) as two:
        alice, bob = Page(one), Page(two)
        assert await alice.call("messaging", "registerParticipant", name="alice") is None
        refused = await bob.call("messaging", "registerParticipant", name="Bob the 2nd")
        assert refused == "Name not allowed"
        await bob.call("messaging", "registerParticipant", name="bob")
        assert await bob.call("messaging", "listParticipants") == ["alice", "bob"]
        message = {"sender": "bob", "dest": "alice", "body": "Hi"}
        assert await bob.call("messaging", "send", **message) is None
        assert await alice.receive() == {"type": "message", **message}


async def test_chat(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "chat" / "live.py")
    with pytest.raises(websockets.InvalidStatus, match="401"):
        await websockets.connect(server.url)
    url = f"{server.url}?name="
    async with websockets.connect(url + "cook") as one, websockets.connect(url + "guest") as two:
        cook, guest = Page(one), Page(two)
        assert await guest.call("chat", "join", channel="kitchen") == "Not authorized"
        for channel in ("kitchen", "tea"):
            assert await cook.call("chat", "join", channel=channel) == {"members": ["cook"]}
        reply = await guest.call("chat", "join", channel="tea")
        assert reply == {"members": ["cook", "guest"]}
        assert (await cook.receive())["status"] == "joined"
        await cook.call("chat", "send", channel="tea", body="Tea is ready")
        assert (await guest.receive())["body"] == "Tea is ready"


async def test_cursors(serve: Callable[..., Any]) -> None:
    server = serve(EXAMPLES / "cursors" / "live.py")
    with pytest.raises(websockets.InvalidStatus, match="401"):
        await websockets.connect(server.url)
    url = f"{server.url}?name="
    async with websockets.connect(url + "treasurer") as one, websockets.connect(url + "x") as two:
        treasurer, other = Page(one), Page(two)
        assert await other.call("cursors", "join", document="budget") == "Not authorized"
        for document in ("budget", "plan"):
            joined = await treasurer.call("cursors", "join", document=document)
            assert joined == {"cursors": []}
        await other.call("cursors", "join", document="plan")
        place = {"document": "plan", "position": 1, "status": None}
        handle = await other.call("cursors", "createCursor", privateHandle=1, **place)
        assert (await treasurer.receive())["cursor"]["publicHandle"] == handle


@pytest.mark.parametrize(
    ("page", "service"),
    [("messaging", MessagingService), ("chat", ChatService), ("cursors", CursorsService)],
)
def test_the_page_lists_the_commands_and_the_limits_as_they_are(
    page: str, service: type[RPCService]
) -> None:
    text = (PAGES / f"{page}.md").read_text()
    commands = text.partition("## Commands")[2].partition("## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", commands.partition("| notification |")[0], re.MULTILINE)
    assert set(listed) == set(service.rpc_commands)

    limits = re.findall(r"^\| `(max_\w+)` \| (\d+)( KiB)? \|", text, re.MULTILINE)
    assert limits
    for name, number, unit in limits:
        assert getattr(DEFAULT_LIMITS, name) == int(number) * (1024 if unit else 1)


@pytest.mark.parametrize("page", ["messaging", "chat", "cursors"])
def test_the_page_lists_the_errors_as_they_are(page: str) -> None:
    text = (PAGES / f"{page}.md").read_text()
    table = text.partition("| error | why |")[2].partition("\n\n")[0]
    listed = re.findall(
        r"`([A-Z][\w ]+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE))
    )
    assert set(listed) == {*errors_of(page), "Invalid params"}


def errors_of(service: str) -> set[str]:
    """What it raises itself, and what joining it may end with."""
    source = ast.parse((ROOT / "snorky" / "services" / f"{service}.py").read_text())
    errors = {WITHDRAWN}
    for call in ast.walk(source):
        if isinstance(call, ast.Call):
            name = ast.unparse(call.func)
            texts = {
                each.value
                for argument in call.args
                for each in ast.walk(argument)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            }
            if name in ("RPCError", "key_of"):
                errors |= texts
            elif name == "self._joining.join":
                errors |= texts or {"Not authorized"}
    return errors
