"""The HTTP back end over ASGI: trusted servers POST one envelope and get the service's answer.

Statuses and texts are those of ``snorky.edges.backend``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from snorky.asgi.bodies import Body, Gone
from snorky.asgi.scopes import Headers, Receive, Scope, Send, remote_address_of
from snorky.edges.backend import (
    ANSWER_TYPE,
    READ_PAST_LIMIT,
    HTTPClient,
    check_length,
    hand_over,
    key_in,
    refusal,
    too_late,
)
from snorky.identity import Refused
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.service_registry import ServiceRegistry

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
        body = await _read_body(registry, check_api_key, scope, receive)
        await hand_over(registry, client, body)
        status, answer = await _wait_for_answer(registry, client, receive)
    except Refused as refused:
        status, answer = refused.status, refusal(refused.reason)
    except Gone:
        return
    except Exception:
        snorky_log.exception(
            "Unhandled exception in a back end request of %s", printable(client.remote_address)
        )
        status, answer = 500, refusal("Internal Server Error")
    finally:
        client.connected = False
    if status != 200:
        metrics.backend_refused += 1
    headers = [
        (b"content-type", ANSWER_TYPE.encode()),
        (b"content-length", str(len(answer)).encode()),
    ]
    if status == 405:
        headers.append((b"allow", b"POST"))
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
    except OSError:
        pass  # it has left already


async def _read_body(
    registry: ServiceRegistry, check_api_key: CheckAPIKey, scope: Scope, receive: Receive
) -> bytes:
    limits = registry.limits
    body = Body(receive, limits.max_backend_message_bytes, READ_PAST_LIMIT)
    try:
        async with asyncio.timeout(limits.backend_timeout):
            try:
                await _admit(check_api_key, scope, limits.max_backend_message_bytes)
                return await body.read()
            except Refused:
                # So that the answer arrives: a connection closed with unread input is reset.
                await body.drop()
                raise
    except TimeoutError as error:
        raise Refused(408, "The request did not come in time") from error


async def _admit(check_api_key: CheckAPIKey, scope: Scope, most: int) -> None:
    if scope["method"] != "POST":
        raise Refused(405, "Method Not Allowed")
    headers = Headers(scope.get("headers", ()))
    checking = check_api_key(key_in(headers))
    if inspect.isawaitable(checking):
        await checking
    check_length(headers, most)


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
    raise too_late()
