"""The rules of the back end, the same for every server: who may send, how much, and one answer.

How the request was read, and who answers, is the door's business.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from snorky.client import Client
from snorky.identity import Refused
from snorky.log import snorky_log
from snorky.wire import MalformedMessage, decode, encode

READ_PAST_LIMIT = 16
"""How many times the limit of a body is read, and dropped, before the connection is cut."""

CheckAPIKey = Callable[[str], Awaitable[None] | None]
"""Raises for a key that does not open."""


class HTTPClient(Client):
    """The sender of one request. The first message a service sends it is the response."""

    def __init__(self, remote_address: str | None) -> None:
        self.remote_address = remote_address
        self.response: asyncio.Future[tuple[int, bytes]] = (
            asyncio.get_running_loop().create_future()
        )

    def send(self, msg: Any) -> None:
        body = encode(msg)
        if self.response.done():
            if self.connected:
                snorky_log.warning("More than one message for one back end request: dropped")
        else:
            self.response.set_result((200, body))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.message_refused(reason or "The request was closed", 500)

    def message_refused(self, reason: str, status: int = 400) -> None:
        if not self.response.done():
            self.response.set_result((status, encode({"error": reason})))


async def check_key(headers: Mapping[str, str], check_api_key: CheckAPIKey) -> None:
    """Raises Refused where there is no key, and whatever ``check_api_key`` raises.

    ``headers`` were read as Latin-1, as every server does.
    """
    key = headers.get("X-Backend-Key")
    if key is None:
        raise Refused(401, "Missing X-Backend-Key header")
    checking = check_api_key(key.encode("latin-1").decode("utf-8", "replace"))
    if inspect.isawaitable(checking):
        await checking


def is_a_key(api_key: str, keys: Iterable[str]) -> bool:
    """Compares with every key, each in constant time: the time taken tells nothing about any."""
    given = api_key.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(given, key.encode()) for key in keys if key]
    return any(matches)


def check_length(headers: Mapping[str, str], most: int) -> None:
    """Raises Refused for a body that says it is longer. What is no number the server refuses."""
    length = headers.get("Content-Length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise too_large(most)


def too_large(most: int) -> Refused:
    return Refused(413, f"Expected at most {most} bytes")


def unanswered() -> Refused:
    return Refused(504, "The service did not answer in time")


def message_in(body: bytes) -> Any:
    """Raises Refused for what is no JSON."""
    try:
        return decode(body)
    except MalformedMessage as error:
        raise Refused(400, "Invalid JSON") from error
