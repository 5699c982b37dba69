"""A client of Snorky in one file, made from the page about its protocol alone.

async def use(connection):
    await connection.call("pubsub", "subscribe", channel="news")
    async for service, message in connection:
        print(service, message)

asyncio.run(stay_connected("ws://127.0.0.1:5001/ws", use))
"""

import asyncio
import inspect
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import websockets

MIN_DELAY, MAX_DELAY, SHORTEST_DELAY = 0.5, 20.0, 0.1
CONNECT_TIMEOUT, CALL_TIMEOUT, PING_INTERVAL = 20.0, 90.0, 25.0
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_UNREAD = 10_000
"""Notifications that may wait to be taken; who lets more pile up is disconnected."""

Token = Callable[[], str | Awaitable[str]]


class CallError(Exception):
    """The server refused a call: its text."""


class Disconnected(Exception):
    """There is no connection, or not any more. Calls that were open may have been carried out.

    ``code`` is the close code, or the HTTP status that refused us, or 1006.
    """

    def __init__(self, code: int, reason: str, *, may_come_back: bool) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason
        self.may_come_back = may_come_back


class Connection:
    """One connection; ``async for service, message in connection`` takes its notifications.

    All methods raise Disconnected once it has ended.
    """

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._call_ids = itertools.count()
        self._open_calls: dict[int, asyncio.Future[Any]] = {}
        self._notifications: asyncio.Queue[tuple[str, Any] | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    async def call(self, service: str, command: str, /, **params: Any) -> Any:
        """The answer to a call. Raises CallError, or TimeoutError where none comes."""
        call_id = next(self._call_ids)
        answer = self._open_calls[call_id] = asyncio.get_running_loop().create_future()
        try:
            await self.send(service, {"command": command, "params": params, "callId": call_id})
            async with asyncio.timeout(CALL_TIMEOUT):
                message = await answer
        finally:
            del self._open_calls[call_id]
        if message is None:
            raise self._disconnected()
        if message["type"] == "error":
            raise CallError(message["message"])
        return message["data"]

    async def send(self, service: str, message: Any) -> None:
        """Send any message to a service, call or not."""
        try:
            await self._socket.send(json.dumps({"service": service, "message": message}))
        except websockets.ConnectionClosed as closed:
            await asyncio.wait([self._reader])
            raise self._disconnected() from closed

    async def close(self) -> None:
        """Say goodbye. Twice does nothing."""
        await self._socket.close()
        await asyncio.wait([self._reader])

    def __aiter__(self) -> AsyncIterator[tuple[str, Any]]:
        return self

    async def __anext__(self) -> tuple[str, Any]:
        notification = await self._notifications.get()
        if notification is None:
            self._notifications.put_nowait(None)  # for whoever asks again
            raise self._disconnected()
        return notification

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                self._received(json.loads(text))
        except websockets.ConnectionClosed:
            pass
        except (OverflowError, KeyError, TypeError, ValueError) as fault:
            await self._socket.close(1008, repr(fault)[:100])
        for answer in self._open_calls.values():
            if not answer.done():
                answer.set_result(None)
        self._notifications.put_nowait(None)

    def _received(self, envelope: Any) -> None:
        service, message = envelope["service"], envelope["message"]
        kind = message.get("type") if isinstance(message, dict) else None
        if kind not in ("response", "error"):
            if self._notifications.qsize() >= MAX_UNREAD:
                raise OverflowError(f"{MAX_UNREAD} notifications wait to be taken")
            self._notifications.put_nowait((service, message))
            return
        answer = self._open_calls.get(message.get("callId"))
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _disconnected(self) -> Disconnected:
        code = self._socket.close_code or 1006
        final = 3500 <= code < 4000 or 4500 <= code < 5000
        return Disconnected(code, self._socket.close_reason or "", may_come_back=not final)


@asynccontextmanager
async def connect(url: str, *, token: Token | None = None) -> AsyncIterator[Connection]:
    """One connection, closed at the end of the block. Raises Disconnected where there is none."""
    headers = {}
    if token is not None:
        given = token()
        headers["Authorization"] = f"Bearer {await given if inspect.isawaitable(given) else given}"
    try:
        socket = await websockets.connect(
            url,
            additional_headers=headers,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=CONNECT_TIMEOUT,
            ping_interval=PING_INTERVAL,
            ping_timeout=2 * PING_INTERVAL,
        )
    except websockets.InvalidStatus as refused:
        status = refused.response.status_code
        may_come_back = status >= 500 or (status == 401 and token is not None)
        reason = (refused.response.body or b"").decode("utf-8", "replace")
        raise Disconnected(status, reason, may_come_back=may_come_back) from refused
    except (OSError, TimeoutError, websockets.InvalidHandshake) as error:
        raise Disconnected(1006, str(error), may_come_back=True) from error
    connection = Connection(socket)
    try:
        yield connection
    finally:
        await connection.close()


async def stay_connected(
    url: str, use: Callable[[Connection], Awaitable[Any]], *, token: Token | None = None
) -> Any:
    """Run ``use(connection)`` until it returns, anew with each connection: that is its result.

    What was subscribed to ended with the last connection, so ``use`` begins by subscribing.
    ``token`` is called for each. Raises Disconnected when we are not to come back.
    """
    attempt = 0
    while True:
        connected_at = None
        try:
            async with connect(url, token=token) as connection:
                connected_at = time.monotonic()
                return await use(connection)
        except Disconnected as gone:
            if not gone.may_come_back:
                raise
        if connected_at is not None and time.monotonic() - connected_at >= MAX_DELAY:
            attempt = 0
        await asyncio.sleep(delay_before(attempt))
        attempt += 1


def delay_before(attempt: int) -> float:
    """Seconds to wait, at random: who was dropped together must not come back together."""
    bound = min(MAX_DELAY, MIN_DELAY * 2 ** min(attempt, 10))
    return random.uniform(min(SHORTEST_DELAY, bound), bound)
