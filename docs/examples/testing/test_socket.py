"""The auction over a real socket: pip install pytest websockets, then pytest test_socket.py"""

import asyncio
import json

import websockets
from auction import frontend
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from snorky.request_handlers.websocket import SnorkyWebSocketHandler


async def call(socket, command, **params):
    message = {"command": command, "params": params, "callId": 1}
    await socket.send(json.dumps({"service": "auction", "message": message}))


async def receive(socket):
    text = await asyncio.wait_for(socket.recv(), 10)
    return json.loads(text)["message"]


async def bid_and_listen():
    server = HTTPServer(Application([SnorkyWebSocketHandler.get_route(frontend, "/ws")]))
    listening, port = bind_unused_port()
    server.add_socket(listening)
    try:
        url = f"ws://127.0.0.1:{port}/ws"
        async with websockets.connect(url) as alice, websockets.connect(url) as bob:
            await call(bob, "enter")
            assert await receive(bob) == {"type": "response", "callId": 1, "data": 0}
            await call(alice, "bid", amount=5)
            assert await receive(bob) == {"type": "bid", "amount": 5, "by": "a guest"}
    finally:
        server.stop()
        await server.close_all_connections()


def test_a_bid_reaches_another_page():
    asyncio.run(bid_and_listen())
