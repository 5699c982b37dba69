"""The HTTP back end over ASGI: trusted servers POST one envelope and get the service's answer.

Statuses and texts are those of ``snorky.request_handlers.http.BackendHTTPHandler``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from snorky.asgi.bodies import Body, Gone, too_large
from snorky.asgi.scopes import Headers, Receive, Scope, Send, remote_address_of
from snorky.identity import Refused
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.request_handlers.http import HTTPClient
from snorky.service_registry import ServiceRegistry
from snorky.wire import MalformedMessage, decode, encode

_READ_PAST_LIMIT = 16
"""How many times the limit of a body is read, and dropped, before the sender is answered."""

CheckAPIKey = Callable[[str], Awaitable[None] | None]


async def answer_backend(
    registry: ServiceRegistry,
    check_api_key: CheckAPIKey,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer one request. Key and size are checked before the body is kept."""
    metrics.backend_requests += 1
    client = HTTPClient(remote_address_of(scope))
    try:
        message = await _read_message(registry, check_api_key, scope, receive)
        registry.process_message_from(client, message)
        status, answer = await _wait_for_answer(registry, client, receive)
    except Refused as refused:
        status, answer = refused.status, encode({"error": refused.reason})
    except Gone:
        return
    except Exception:
        snorky_log.exception(
            "Unhandled exception in a back end request of %s", printable(client.remote_address)
        )
        status, answer = 500, encode({"error": "Internal Server Error"})
    finally:
        client.connected = False
    if status != 200:
        metrics.backend_refused += 1
    headers = [
        (b"content-type", b"application/json; charset=UTF-8"),
        (b"content-length", str(len(answer)).encode()),
    ]
    if status == 405:
        headers.append((b"allow", b"POST"))
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
    except OSError:
        pass  # it has left already


async def _read_message(
    registry: ServiceRegistry, check_api_key: CheckAPIKey, scope: Scope, receive: Receive
) -> Any:
    limits = registry.limits
    body = Body(receive, limits.max_backend_message_bytes, _READ_PAST_LIMIT)
    try:
        async with asyncio.timeout(limits.backend_timeout):
            try:
                await _admit(check_api_key, scope, limits.max_backend_message_bytes)
                text = await body.read()
            except Refused:
                # So that the answer arrives: a connection closed with unread input is reset.
                await body.drop()
                raise
        return decode(text)
    except MalformedMessage as error:
        raise Refused(400, "Invalid JSON") from error
    except TimeoutError as error:
        raise Refused(408, "The request did not come in time") from error


async def _admit(check_api_key: CheckAPIKey, scope: Scope, most: int) -> None:
    if scope["method"] != "POST":
        raise Refused(405, "Method Not Allowed")
    headers = Headers(scope.get("headers", ()))
    key = headers.get("X-Backend-Key")
    if key is None:
        raise Refused(401, "Missing X-Backend-Key header")
    checking = check_api_key(key.encode("latin-1").decode("utf-8", "replace"))
    if inspect.isawaitable(checking):
        await checking
    length = headers.get("Content-Length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise too_large(most)


async def _wait_for_answer(
    registry: ServiceRegistry, client: HTTPClient, receive: Receive
) -> tuple[int, bytes]:
    # After the body there is one more thing to hear of the sender: that it has gone.
    leaving = asyncio.ensure_future(receive())
    try:
        done, _ = await asyncio.wait(
            (client.response, leaving),
            timeout=registry.limits.backend_timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        leaving.cancel()
    if client.response in done:
        return client.response.result()
    if leaving in done:
        raise Gone
    raise Refused(504, "The service did not answer in time")
