"""What SockJS looks like on the wire, by each of its transports."""

from __future__ import annotations

from snorky.request_handlers.sockjs import SnorkySockJSHandler
from tests.docs.capture_site import (
    PUBLISH,
    SUBSCRIBE,
    TEXT,
    UNKNOWN,
    UPGRADE,
    Site,
    an_interval_passes,
    as_json,
)
from tests.docs.transcript import Transcript, wire_to


async def sockjs(transcript: Transcript) -> None:
    site = Site()
    async with site.tornado(SnorkySockJSHandler.get_routes(site.frontend, "/sockjs")) as port:
        async with wire_to(port, transcript) as wire:
            transcript.begin("info")
            wire.request("GET /sockjs/info")
            await wire.hear_response()
        await _sockjs_websocket(site, port, transcript)
        await _sockjs_streaming(site, port, transcript)
        for name, request in {
            "eventsource": "GET /sockjs/000/Event-Src/eventsource",
            "htmlfile": "GET /sockjs/000/Html-File/htmlfile?c=callback",
        }.items():
            transcript.begin(name)
            async with wire_to(port, transcript, "receives") as receives:
                receives.request(request)
                await receives.hear_head()
                await receives.hear_chunk()
                await receives.hear_chunk()
                address = request.split(" ")[1].rpartition("/")[0]
                await _sockjs_send(port, transcript, f"POST {address}/xhr_send", SUBSCRIBE)
                await receives.hear_chunk()
        await _sockjs_polling(port, transcript)
        await _sockjs_jsonp(port, transcript)
        async with wire_to(port, transcript) as wire:
            transcript.begin("errors")
            wire.request("POST /sockjs/000/Nobody/xhr_send", TEXT, body=as_json([SUBSCRIBE]))
            await wire.hear_response()
            wire.request("POST /sockjs/000/Long-Poll/xhr_send", TEXT, body='["')
            await wire.hear_response()


async def _sockjs_send(port: int, transcript: Transcript, line: str, *messages: str) -> None:
    async with wire_to(port, transcript, "sends") as sends:
        sends.request(line, TEXT, body=as_json(messages))
        await sends.hear_response()


async def _sockjs_websocket(site: Site, port: int, transcript: Transcript) -> None:
    async with wire_to(port, transcript) as wire:
        transcript.begin("websocket")
        wire.request("GET /sockjs/000/WebSocket/websocket", *UPGRADE)
        await wire.hear_head()
        await wire.hear_frame()
        wire.say_frame(as_json([SUBSCRIBE]))
        await wire.hear_frame()
        wire.say_frame(as_json([PUBLISH]))
        while b"callId" not in await wire.hear_frame():
            pass
        an_interval_passes(25)
        await wire.hear_frame()
        await wire.hear_frame()
        wire.say_frame("", 0xA)
        site.stop()
        await wire.hear_frame()
        wire.say_frame(await wire.hear_frame(), 0x8)
        await wire.hear_end()


async def _sockjs_streaming(site: Site, port: int, transcript: Transcript) -> None:
    send = "POST /sockjs/000/Streaming/xhr_send"
    transcript.begin("xhr-streaming")
    async with wire_to(port, transcript, "receives") as receives:
        receives.request("POST /sockjs/000/Streaming/xhr_streaming", body="")
        await receives.hear_head()
        await receives.hear_chunk()
        await receives.hear_chunk()
        await _sockjs_send(port, transcript, send, SUBSCRIBE)
        await receives.hear_chunk()
        transcript.begin("streaming-notification")
        await _sockjs_send(port, transcript, send, PUBLISH)
        await receives.hear_chunk()
        transcript.begin("streaming-error")
        await _sockjs_send(port, transcript, send, UNKNOWN)
        await receives.hear_chunk()
        transcript.begin("streaming-heartbeat")
        an_interval_passes(25)
        await receives.hear_chunk()
        transcript.begin("streaming-goodbye")
        site.stop()
        await receives.hear_chunk()
        await receives.hear_chunk()


async def _sockjs_polling(port: int, transcript: Transcript) -> None:
    transcript.begin("xhr-polling")
    async with wire_to(port, transcript, "receives") as receives:
        receives.request("POST /sockjs/000/Long-Poll/xhr", body="")
        await receives.hear_response()
        await _sockjs_send(
            port, transcript, "POST /sockjs/000/Long-Poll/xhr_send", SUBSCRIBE, PUBLISH
        )
        receives.request("POST /sockjs/000/Long-Poll/xhr", body="")
        await receives.hear_response()


async def _sockjs_jsonp(port: int, transcript: Transcript) -> None:
    transcript.begin("jsonp")
    async with wire_to(port, transcript, "receives") as receives:
        receives.request("GET /sockjs/000/With-JSONP/jsonp?c=callback")
        await receives.hear_response()
        async with wire_to(port, transcript, "sends") as sends:
            sends.request("POST /sockjs/000/With-JSONP/jsonp_send", TEXT, body=as_json([SUBSCRIBE]))
            await sends.hear_response()
        receives.request("GET /sockjs/000/With-JSONP/jsonp?c=callback")
        await receives.hear_response()
