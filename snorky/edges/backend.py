"""The rules of the HTTP back end, whatever server has read the request.

Trusted servers POST one envelope with the header ``X-Backend-Key``, and get the service's answer.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from snorky.client import Client
from snorky.identity import Refused
from snorky.log import snorky_log
from snorky.service_registry import ServiceRegistry
from snorky.wire import MalformedMessage, decode, encode

READ_PAST_LIMIT = 16
"""How many times the limit of a body is read, and dropped, before the sender is answered or cut."""

ANSWER_TYPE = "application/json; charset=UTF-8"

Answer = tuple[int, bytes]
"""Status and body."""


class HTTPClient(Client):
    """The sender of one request. The first message a service sends it is the response."""

    def __init__(self, remote_address: str | None) -> None:
        self.remote_address = remote_address
        self.response: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

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
            self.response.set_result((status, refusal(reason)))


def refusal(reason: str) -> bytes:
    """The body of every answer that is not a service's."""
    return encode({"error": reason})


def key_in(headers: Mapping[str, str]) -> str:
    """The key that a request shows. Raises Refused."""
    key = headers.get("X-Backend-Key")
    if key is None:
        raise Refused(401, "Missing X-Backend-Key header")
    return key.encode("latin-1").decode("utf-8", "replace")  # servers read headers as Latin-1


def check_key(given: str, keys: Iterable[str]) -> None:
    """Raise Refused unless one of ``keys`` is ``given``; empty ones open nothing.

    Compares with every key, each in constant time: the time taken tells nothing about any of them.
    """
    utf8 = given.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(utf8, key.encode()) for key in keys if key]
    if not any(matches):
        raise Refused(401, "Invalid API key")


def check_length(headers: Mapping[str, str], most: int) -> None:
    """Refuse a body that says itself that it is too long, before it is read."""
    length = headers.get("Content-Length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise too_large(most)


def too_large(most: int) -> Refused:
    return Refused(413, f"Expected at most {most} bytes")


async def hand_over(registry: ServiceRegistry, client: HTTPClient, body: bytes) -> None:
    """Give the envelope to its service; ``client.response`` is the answer. Raises Refused."""
    try:
        message = decode(body)
    except MalformedMessage as error:
        raise Refused(400, "Invalid JSON") from error
    await registry.be_started()
    registry.process_message_from(client, message)


def too_late() -> Refused:
    return Refused(504, "The service did not answer in time")
