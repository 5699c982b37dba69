"""A client of Snorky in one file, made from the page about its protocol alone."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import websockets

MIN_DELAY, MAX_DELAY, SHORTEST_DELAY, CALL_TIMEOUT = 0.5, 20.0, 0.1, 90.0
MAX_UNREAD = 10_000  # notifications that may wait to be taken; past it we disconnect
SOCKET: dict[str, Any] = {"open_timeout": 20, "ping_interval": 25, "ping_timeout": 50}
SOCKET |= {"max_size": 16 * 1024 * 1024, "compression": None}
Token = Callable[[], str]


class CallError(Exception):
    """The server refused a call: its text."""


class Disconnected(Exception):
    """There is no connection, or not any more. Calls that were open may have been carried out."""

    def __init__(self, code: int, reason: str, *, may_come_back: bool) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code  # of the close, or the HTTP status that refused us, or 1006
        self.reason, self.may_come_back = reason, may_come_back


class Connection:
    """``async for service, message in connection``. All raises Disconnected once it has ended."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._call_ids = itertools.count()
        self._open_calls: dict[Any, asyncio.Future[Any]] = {}
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
        envelope = json.dumps({"service": service, "message": message}, ensure_ascii=False)
        try:
            await self._socket.send(envelope)
        except websockets.ConnectionClosed as closed:
            raise self._disconnected() from closed

    async def aclose(self) -> None:
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
        except Exception as fault:  # it has ended, or the server said something else
            await self._socket.close(1008, repr(fault)[:100])
        for answer in self._open_calls.values():
            if not answer.done():
                answer.set_result(None)
        self._notifications.put_nowait(None)

    def _received(self, envelope: Any) -> None:
        service, message = envelope["service"], envelope["message"]
        if isinstance(message, dict) and message.get("type") in ("response", "error"):
            answer = self._open_calls.get(message.get("callId"))
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif self._notifications.qsize() >= MAX_UNREAD:
            raise OverflowError(f"{MAX_UNREAD} notifications wait to be taken")
        else:
            self._notifications.put_nowait((service, message))

    def _disconnected(self) -> Disconnected:
        code = self._socket.close_code or 1006
        final = 3500 <= code < 4000 or 4500 <= code < 5000
        return Disconnected(code, self._socket.close_reason or "", may_come_back=not final)


@asynccontextmanager
async def connect(url: str, *, token: Token | None = None) -> AsyncIterator[Connection]:
    """One connection, closed at the end of the block. Raises Disconnected where there is none."""
    headers = {} if token is None else {"Authorization": f"Bearer {token()}"}
    try:
        socket = await websockets.connect(url, additional_headers=headers, **SOCKET)
    except websockets.InvalidStatus as refused:
        status, body = refused.response.status_code, refused.response.body or b""
        again = status >= 500 or (status == 401 and token is not None)
        raise Disconnected(status, body.decode(errors="replace"), may_come_back=again) from refused
    except (OSError, websockets.InvalidHandshake) as error:
        raise Disconnected(1006, str(error), may_come_back=True) from error
    async with aclosing(Connection(socket)) as connection:
        yield connection


async def stay_connected(
    url: str, use: Callable[[Connection], Awaitable[Any]], *, token: Token | None = None
) -> Any:
    """Run ``use(connection)`` until it returns, anew with each connection: that is its result.

    Subscriptions end with a connection. Raises Disconnected when we are not to come back.
    """
    attempt = -1
    while True:
        connected_at = float("inf")
        try:
            async with connect(url, token=token) as connection:
                connected_at = time.monotonic()
                return await use(connection)
        except Disconnected as gone:
            if not gone.may_come_back:
                raise
        attempt = 0 if time.monotonic() - connected_at >= MAX_DELAY else attempt + 1
        await asyncio.sleep(delay_before(attempt))


def delay_before(attempt: int) -> float:
    """Seconds to wait, at random: who was dropped together must not come back together."""
    return random.uniform(SHORTEST_DELAY, min(MAX_DELAY, MIN_DELAY * 2 ** min(attempt, 10)))
