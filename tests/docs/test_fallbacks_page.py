"""The program of the page on fallbacks, spoken to as the page says."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from tests.browser.conftest import listens, wait_for
from tests.patience import patient

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "examples" / "fallbacks"


def call(command: str, call_id: int, **params: Any) -> str:
    message = {"command": command, "params": params, "callId": call_id}
    return json.dumps({"service": "pubsub", "message": message})


async def test_without_our_client(
    run_program: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> None:
    file, ports = on_free_ports(EXAMPLE / "live.py")
    program = run_program([sys.executable, "-W", "error", str(file)])
    await asyncio.to_thread(wait_for, lambda: listens(ports[5001]), "the example listens")
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{ports[5001]}", timeout=patient(10)
    ) as http:
        session = {"session": (await http.post("/comet")).json()["session"]}
        texts = [
            call("subscribe", 0, channel="news"),
            call("publish", 1, channel="news", message="Hi"),
        ]
        for _ in range(2):
            body = json.dumps({"first": 1, "messages": texts})
            answer = await http.post("/comet/messages", params=session, content=body)
            assert answer.json() == {"received": 2}
        answer = await http.get("/comet/poll", params={**session, "after": 0})
        assert answer.json()["after"] == 3
        messages = [envelope["message"] for envelope in answer.json()["messages"]]
        assert [message.get("callId") for message in messages if "callId" in message] == [0, 1]
        assert {"type": "message", "channel": "news", "message": "Hi"} in messages
        assert (await http.post("/comet/close", params=session)).status_code == 204
    assert await asyncio.to_thread(program.stop, signal.SIGINT) == 0
    assert program.lines == ["Bye"]
