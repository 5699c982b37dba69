"""As ``client.mjs``, with the client of the manual: it knows nothing but the protocol."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import websockets

from docs.examples.protocol.client import SOCKET, Connection, Disconnected

connections: dict[str, Connection] = {}
tasks: set[asyncio.Task[None]] = set()


def write(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class Page(Connection):
    """Tells what comes, answers too, in the order of arrival."""

    def __init__(self, name: str, socket: websockets.ClientConnection) -> None:
        super().__init__(socket)
        self._name = name

    def _received(self, envelope: Any) -> None:
        tell(self._name, "received", envelope["service"], envelope["message"])
        super()._received(envelope)


def tell(name: str, event: str, *args: Any) -> None:
    write({"socket": name, "event": event, "args": args})


async def stay(name: str, url: str, headers: dict[str, str]) -> None:
    try:
        socket = await websockets.connect(url, additional_headers=headers, **SOCKET)
        page = connections[name] = Page(name, socket)
        tell(name, "opened")
        async for _ in page:
            pass
    except websockets.InvalidStatus as refused:
        tell(name, "ended", 1006, str(refused))
    except Disconnected as ended:
        tell(name, "ended", ended.code, ended.reason)


async def visit(name: str, url: str, options: dict[str, Any]) -> None:
    begin(stay(name, url, options["headers"]))


async def request(name: str, service: str, command: str, params: dict[str, Any]) -> Any:
    return await connections[name].call(service, command, **params)


async def say(name: str, service: str, message: Any) -> None:
    await connections[name].send(service, message)


async def text(name: str, text: str) -> None:
    await connections[name]._socket.send(text)


async def leave(name: str) -> None:
    if name in connections:
        await connections[name].aclose()


ACTIONS: dict[str, Callable[..., Awaitable[Any]]] = {
    "visit": visit,
    "request": request,
    "say": say,
    "text": text,
    "leave": leave,
}


async def act(line: dict[str, Any]) -> None:
    try:
        write({"id": line["id"], "result": await ACTIONS[line["action"]](*line["args"])})
    except Exception as error:
        write({"id": line["id"], "error": str(error)})


def begin(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def main() -> None:
    lines = asyncio.StreamReader(limit=16 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async for line in lines:
        begin(act(json.loads(line)))
    for connection in connections.values():
        await connection.aclose()


asyncio.run(main())
