"""What sockjs-protocol 0.3.3 asks of a server over WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from tests.request_handlers.sockjs_site import SockJSSite, protocol_site


@pytest.fixture
async def site(listen: Any) -> AsyncIterator[SockJSSite]:
    async with protocol_site(listen) as site:
        yield site


async def test_websocket(site: SockJSSite) -> None:
    async with site.connect(site.new_session() + "/websocket") as socket:
        assert await socket.recv() == "o"
        await socket.send("")  # empty messages are ignored
        await socket.send('["a"]')
        assert await socket.recv() == 'a["a"]'
        await socket.send('"b"')
        assert await socket.recv() == 'a["b"]'


async def test_websockets_may_share_an_id(site: SockJSSite) -> None:
    path = site.new_session() + "/websocket"
    async with site.connect(path) as one, site.connect(path) as two:
        assert await one.recv() == await two.recv() == "o"
        await one.send('["a"]')
        await two.send('["b"]')
        assert (await one.recv(), await two.recv()) == ('a["a"]', 'a["b"]')


async def test_a_refused_websocket_is_told_and_closed(site: SockJSSite) -> None:
    async with site.connect(site.new_session("/close") + "/websocket") as socket:
        assert await socket.recv() == "o"
        assert await socket.recv() == 'c[3000,"Go away!"]'
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()


async def test_broken_json_ends_a_websocket(site: SockJSSite, expect_log: Any) -> None:
    async with site.connect(site.new_session() + "/websocket") as socket:
        assert await socket.recv() == "o"
        await socket.send('["a')
        assert await socket.recv() == 'c[1007,"broken data"]'
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
    expect_log("Broken JSON encoding.")


async def test_a_websocket_without_frames_for_programs(site: SockJSSite) -> None:
    async with site.connect("/echo/websocket") as socket:
        await socket.send("Hello world!\uffff")
        assert await socket.recv() == "Hello world!\uffff"
    async with site.connect("/close/websocket") as socket:
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (3000, "Go away!")


async def test_a_websocket_is_asked_for_by_get_and_upgrade(site: SockJSSite) -> None:
    path = site.new_session() + "/websocket"
    plain = await site.get(path)
    assert plain.status_code == 400
    assert 'Can "Upgrade" only to "WebSocket".' in plain.text
    posted = await site.post(path)
    assert (posted.status_code, posted.content) == (405, b"")
    assert "Content-Type" not in posted.headers
    assert posted.headers["Allow"]
    assert (await site.get(site.new_session("/wsoff") + "/websocket")).status_code == 404
