"""What Socket.IO looks like on the wire: polling, WebSocket, and the way from one to the other."""

from __future__ import annotations

import json
from typing import Any

from snorky import close_codes
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from tests.docs.capture_site import TEXT, UPGRADE, Site, until
from tests.docs.transcript import Transcript, Wire, wire_to

SUBSCRIBE_EVENT = '["pubsub",{"command":"subscribe","params":{"channel":"news"}}]'
PUBLISH_EVENT = (
    '["pubsub",{"command":"publish","params":{"channel":"news","message":"Tea is ready"}}]'
)
UNKNOWN_EVENT = '["pubsub",{"command":"dance","params":{}}]'


async def socketio(transcript: Transcript) -> None:
    site = Site()
    route = SnorkySocketIOHandler.get_route(site.frontend)
    engine = route[2]["engine"]
    async with site.tornado([route]) as port:
        async with wire_to(port, transcript, "receives") as receives:
            await _socketio_polling(site, engine, port, receives, transcript)
        async with wire_to(port, transcript) as wire:
            transcript.begin("polling-refused")
            wire.request("GET /socket.io/?EIO=4&transport=polling&token=old")
            opened = await wire.hear_response()
            address = f"/socket.io/?EIO=4&transport=polling&sid={_sid_of(opened, transcript, 2)}"
            wire.request(f"POST {address}", TEXT, body="40")
            await wire.hear_response()
            wire.request(f"GET {address}")
            await wire.hear_response()
        await _socketio_websocket(site, port, transcript)
        await _socketio_upgrade(site, engine, port, transcript)


def _sid_of(opened: str, transcript: Transcript, number: int) -> str:
    sid = str(json.loads(opened[opened.index("{") :])["sid"])
    transcript.replace(sid, f"SessionNumber{number:07}")
    return sid


async def _socketio_polling(
    site: Site, engine: Any, port: int, receives: Wire, transcript: Transcript
) -> None:
    transcript.begin("polling")
    receives.request("GET /socket.io/?EIO=4&transport=polling")
    sid = _sid_of(await receives.hear_response(), transcript, 1)
    address = f"/socket.io/?EIO=4&transport=polling&sid={sid}"

    async def send(packet: str) -> None:
        async with wire_to(port, transcript, "sends") as sends:
            sends.request(f"POST {address}", TEXT, body=packet)
            await sends.hear_response()

    async def receive() -> str:
        receives.request(f"GET {address}")
        return await receives.hear_response()

    await send("40")
    _sid_of(await receive(), transcript, 11)
    transcript.begin("polling-call")
    await send(f"420{SUBSCRIBE_EVENT}")
    await receive()
    transcript.begin("polling-notification")
    await send(f"421{PUBLISH_EVENT}")
    await receive()
    transcript.begin("polling-error")
    await send(f"422{UNKNOWN_EVENT}")
    await receive()
    transcript.begin("polling-heartbeat")
    await _ping_now(engine, sid)
    await receive()
    await send("3")
    transcript.begin("polling-goodbye")
    receives.request(f"GET {address}")
    await until(lambda: engine.sockets[sid].queue.carriers)
    site.stop()
    await receives.hear_response()
    await receive()


async def _ping_now(engine: Any, sid: str) -> None:
    """What python-engineio does when its interval has passed."""
    interval, engine.ping_interval = engine.ping_interval, 0
    try:
        await engine.sockets[sid]._send_ping()
    finally:
        engine.ping_interval = interval


async def _socketio_websocket(site: Site, port: int, transcript: Transcript) -> None:
    transcript.begin("websocket")
    async with wire_to(port, transcript) as wire:
        wire.request("GET /socket.io/?EIO=4&transport=websocket", *UPGRADE)
        await wire.hear_head()
        _sid_of((await wire.hear_frame()).decode(), transcript, 3)
        wire.say_frame("40")
        _sid_of((await wire.hear_frame()).decode(), transcript, 31)
        wire.say_frame(f"420{SUBSCRIBE_EVENT}")
        await wire.hear_frame()
        wire.say_frame(f"421{PUBLISH_EVENT}")
        await wire.hear_frame()
        await wire.hear_frame()
        transcript.begin("websocket-no-acknowledgement")
        wire.say_frame(f"42{UNKNOWN_EVENT}")
        await wire.hear_frame()
        transcript.begin("websocket-goodbye")
        for client in tuple(site.frontend.clients):
            client.close(*close_codes.DISCONNECTED)
        await wire.hear_frame()


async def _socketio_upgrade(site: Site, engine: Any, port: int, transcript: Transcript) -> None:
    transcript.begin("upgrade")
    async with wire_to(port, transcript, "polls") as polls:
        polls.request("GET /socket.io/?EIO=4&transport=polling")
        sid = _sid_of(await polls.hear_response(), transcript, 4)
        address = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        polls.request(f"POST {address}", TEXT, body="40")
        await polls.hear_response()
        polls.request(f"GET {address}")
        _sid_of(await polls.hear_response(), transcript, 41)
        polls.request(f"GET {address}")
        await until(lambda: engine.sockets[sid].queue.carriers)
        async with wire_to(port, transcript, "WebSocket") as wire:
            wire.request(f"GET {address.replace('polling', 'websocket')}", *UPGRADE)
            await wire.hear_head()
            wire.say_frame("2probe")
            await wire.hear_frame()
            await polls.hear_response()
            wire.say_frame("5")
            wire.say_frame(f"420{SUBSCRIBE_EVENT}")
            await wire.hear_frame()
            wire.say_frame("41")
            await until(lambda: not site.frontend.clients)
