"""The captures of docs/reference: real bytes of a real server, written into the pages.

``python -m tests.docs.captures`` rewrites them, and the tables; tests say when it has to be done.
The servers are those of ``snorky serve``, and Tornado's for the routes that it has not; the client
is a raw socket.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from snorky.cli.server import backend_application
from tests.docs import reference_tables
from tests.docs.capture_site import (
    PUBLISH,
    SUBSCRIBE,
    UNKNOWN,
    UPGRADE,
    Site,
    an_interval_passes,
    as_json,
)
from tests.docs.captures_datasync import datasync
from tests.docs.captures_services import protocol, services
from tests.docs.captures_socketio import socketio
from tests.docs.captures_sockjs import sockjs
from tests.docs.transcript import Transcript, wire_to
from tests.patience import patient

REFERENCE = Path(__file__).parent.parent.parent / "docs" / "reference"
_CAPTURE = re.compile(
    r"<!-- capture: (?P<block>[\w-]+) -->\n```text\n(?P<text>.*?)```\n", re.DOTALL
)
JSON = "Content-Type: application/json"


async def websocket(transcript: Transcript) -> None:
    site = Site()
    async with site.front_door() as port:
        async with wire_to(port, transcript) as wire:
            transcript.begin("connect")
            wire.request("GET /ws", *UPGRADE, "Sec-WebSocket-Protocol: snorky")
            await wire.hear_head()
            transcript.begin("call")
            wire.say_frame(SUBSCRIBE)
            await wire.hear_frame()
            transcript.begin("notification")
            wire.say_frame(PUBLISH)
            await wire.hear_frame()
            await wire.hear_frame()
            transcript.begin("error")
            wire.say_frame(UNKNOWN)
            await wire.hear_frame()
            transcript.begin("heartbeat")
            wire.say_frame("")
            await wire.hear_frame()
            transcript.begin("ping")
            an_interval_passes(90)
            wire.say_frame(await wire.hear_frame(), 0xA)
            transcript.begin("goodbye")
            site.stop()
            wire.say_frame(await wire.hear_frame(), 0x8)
            await wire.hear_end()
        async with wire_to(port, transcript) as wire:
            transcript.begin("fault")
            wire.request("GET /ws", *UPGRADE)
            await wire.hear_head()
            transcript.begin("fault")  # the handshake is on the page already
            wire.say_frame("no mask", masked=False)
            wire.say_frame(await wire.hear_frame(), 0x8)
            await wire.hear_end()
        async with wire_to(port, transcript) as wire:
            transcript.begin("refused")
            wire.request("GET /ws", *UPGRADE, "Origin: https://elsewhere.example")
            await wire.hear_response()
            wire.request("GET /ws?token=old", *UPGRADE)
            await wire.hear_response()


async def server_sent_events(transcript: Transcript) -> None:
    site = Site()
    async with site.front_door() as port:
        session = await _open_comet(port, transcript)
        address = f"/comet/events?session={session}"
        transcript.begin("connect")
        async with wire_to(port, transcript, "receives") as receives:
            receives.request(f"GET {address}&after=0", "Accept: text/event-stream")
            await receives.hear_head()
            await receives.hear_chunk()
            transcript.begin("call")
            await _send_comet(port, transcript, session, 1, SUBSCRIBE)
            await receives.hear_chunk()
            transcript.begin("notification")
            await _send_comet(port, transcript, session, 2, PUBLISH)
            await receives.hear_chunk()
            transcript.begin("error")
            await _send_comet(port, transcript, session, 3, UNKNOWN)
            await receives.hear_chunk()
            transcript.begin("heartbeat")
            an_interval_passes(25)
            await receives.hear_chunk()
        transcript.begin("resume")
        async with wire_to(port, transcript, "receives, again") as receives:
            receives.request(f"GET {address}", "Accept: text/event-stream", "Last-Event-ID: 3")
            await receives.hear_head()
            await receives.hear_chunk()
            await receives.hear_chunk()
            transcript.begin("goodbye")
            site.stop()
            await receives.hear_chunk()
            await receives.hear_chunk()
        await _comet_refusals(port, transcript)


async def long_polling(transcript: Transcript) -> None:
    site = Site()
    async with site.front_door() as port:
        session = await _open_comet(port, transcript)
        async with wire_to(port, transcript, "receives") as receives:
            transcript.begin("call")
            await _send_comet(port, transcript, session, 1, SUBSCRIBE)
            receives.request(f"GET /comet/poll?session={session}&after=0")
            await receives.hear_response()
            transcript.begin("notification")
            await _send_comet(port, transcript, session, 2, PUBLISH)
            receives.request(f"GET /comet/poll?session={session}&after=1")
            await receives.hear_response()
            transcript.begin("error")
            await _send_comet(port, transcript, session, 3, UNKNOWN)
            receives.request(f"GET /comet/poll?session={session}&after=3")
            await receives.hear_response()
            transcript.begin("heartbeat")
            receives.request(f"GET /comet/poll?session={session}&after=4")
            await site.receiver_waits()
            an_interval_passes(25)
            await receives.hear_response()
            transcript.begin("goodbye")
            receives.request(f"GET /comet/poll?session={session}&after=4")
            await site.receiver_waits()
            site.stop()
            await receives.hear_response()
        await _comet_refusals(port, transcript)


async def _open_comet(port: int, transcript: Transcript) -> str:
    transcript.begin("open")
    async with wire_to(port, transcript) as wire:
        wire.request("POST /comet", body="")
        session = str(json.loads(await wire.hear_response())["session"])
    transcript.replace(session, "TheIdOfTheSession-32-characters-")
    return session


async def _send_comet(
    port: int, transcript: Transcript, session: str, first: int, *messages: str
) -> None:
    async with wire_to(port, transcript, "sends") as sends:
        body = as_json({"first": first, "messages": messages})
        sends.request(f"POST /comet/messages?session={session}", JSON, body=body)
        await sends.hear_response()


async def _comet_refusals(port: int, transcript: Transcript) -> None:
    async with wire_to(port, transcript) as wire:
        transcript.begin("refused")
        wire.request("POST /comet?token=old", body="")
        await wire.hear_response()
        wire.request("GET /comet/poll?session=forgotten&after=7")
        await wire.hear_response()


async def http_back_end(transcript: Transcript) -> None:
    site = Site()
    key = "X-Backend-Key: swordfish"

    async def post(message: Any, *fields: str) -> str:
        async with wire_to(port, transcript) as wire:
            body = message if isinstance(message, str) else as_json(message)
            wire.request("POST /backend", *fields, JSON, body=body)
            return await wire.hear_response()

    def calling(service: str, command: str, **params: Any) -> Any:
        return {"service": service, "message": {"command": command, "params": params}}

    publish = calling("pubsub_backend", "publish", channel="news", message="Tea is ready")
    async with site.tornado(backend_application(site.served)) as port:
        transcript.begin("call")
        await post(publish, key)
        transcript.begin("authorize")
        items = [{"dealer": "AllTasks", "query": None}]
        answer = await post(calling("datasync_backend", "authorizeSubscription", items=items), key)
        token = json.loads(answer)["message"]["data"]
        transcript.replace(token, ("ATokenIsOpaque." * 20)[: len(token)])
        transcript.begin("deltas")
        delta = {"type": "insert", "model": "Task", "data": {"id": 1, "title": "Tea"}}
        await post(calling("datasync_backend", "publishDeltas", deltas=[delta]), key)
        transcript.begin("error")
        await post(calling("datasync_backend", "publishDeltas", deltas=[{"type": "insert"}]), key)
        transcript.begin("refused")
        await post(publish)
        await post(publish, "X-Backend-Key: sardine")
        await post("{", key)
        await post(calling("nobody", "publish"), key)


# The pages

CONVERSATIONS: dict[str, Callable[[Transcript], Awaitable[None]]] = {
    "protocol": protocol,
    "services": services,
    "datasync": datasync,
    "websocket": websocket,
    "sockjs": sockjs,
    "socketio": socketio,
    "server-sent-events": server_sent_events,
    "long-polling": long_polling,
    "http-back-end": http_back_end,
}


_FRAMES = {
    "protocol": "message",
    "services": "message",
    "datasync": "message",
    "websocket": "hex",
}


async def captured(page: str) -> str:
    """The page of that name, with the bytes of today."""
    transcript = Transcript()
    async with asyncio.timeout(patient(60)):
        await CONVERSATIONS[page](transcript)
    shown: set[str] = set()

    def rewritten(match: re.Match[str]) -> str:
        block = match["block"]
        shown.add(block)
        text = transcript.text_of(block, frames=_FRAMES.get(page, "text"))
        return f"<!-- capture: {block} -->\n```text\n{text}```\n"

    text = _CAPTURE.sub(rewritten, page_of(page).read_text())
    unknown = set(transcript.blocks) ^ shown
    assert not unknown, f"captured and not on the page {page}: {unknown}"
    return text


def page_of(name: str) -> Path:
    is_transport = name not in ("protocol", "services", "datasync")
    return REFERENCE / (f"transports/{name}.md" if is_transport else f"{name}.md")


def main() -> None:
    for page in CONVERSATIONS:
        page_of(page).write_text(asyncio.run(captured(page)))
    reference_tables.main()


if __name__ == "__main__":
    main()
