"""The rules of handshakes, the same for every door: of WebSockets, and of plain requests.

What a request asks for, whether it may be granted, and the head of the answer. How the request
was read, and who answers, is the door's business.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Coroutine, Generator, Iterable, Mapping
from http.client import responses
from types import coroutine
from typing import Any

from snorky.connection import HEARTBEAT_SUBPROTOCOL
from snorky.identity import Handshake, Refused
from snorky.log import allowance, printable, snorky_log
from snorky.service_registry import ServiceRegistry

REFUSAL_TYPE = "text/plain; charset=UTF-8"
"""What the reason of a refusal is told in."""

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3

_PAGE = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.ASCII | re.IGNORECASE)
_PLAIN_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[][a-z0-9._:-]{1,200}", re.ASCII | re.IGNORECASE)


def page_of(headers: Mapping[str, str]) -> str | None:
    """The origin of the page that sends a request; "null" where it is hidden, None for programs.

    Scripts and frames are asked for without an Origin, from any page and with the cookies of its
    visitor: then the other headers tell, which no page can forge.
    """
    origin = headers.get("Origin")
    if origin is not None:
        return origin
    referer = headers.get("Referer")
    if referer is not None:
        page = _PAGE.match(referer)
        return "null" if page is None else page[0]
    by_itself = headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    return None if by_itself else "null"


def log_refused_page(page: str, host: str, remote_address: str | None) -> None:
    """Say why, and what to do where the page is one's own: the browser tells its author nothing."""
    if not allowance.take(remote_address):
        return
    if page == "null":
        why = "it is opened from disk, or in a sandboxed frame. Serve it, or allow all such pages"
    elif _PLAIN_ORIGIN.fullmatch(page) is not None:
        why = f"it is not of this host, {printable(host, 200)}. If it is yours, allow it"
    else:
        snorky_log.warning("Page of origin %s refused: that is none", printable(page, 200))
        return
    snorky_log.warning(
        'Page of origin %s refused: %s: allowed_origins=["%s"], or --allowed-origin %s'
        " of snorky serve. From %s",
        page,
        why,
        page,
        page,
        printable(remote_address),
    )


def fault_of(headers: Mapping[str, str]) -> tuple[int, str] | None:
    """What RFC 6455, 4.2.1, does not allow in a request: status and reason of the refusal."""
    if headers.get("Upgrade", "").lower() != "websocket":
        return 400, 'Can "Upgrade" only to "WebSocket".'
    connection = [token.strip().lower() for token in headers.get("Connection", "").split(",")]
    if "upgrade" not in connection:
        return 400, '"Connection" must be "Upgrade".'
    if headers.get("Sec-WebSocket-Version") != "13":
        return 426, "Sec-WebSocket-Version must be 13."
    try:
        key = base64.b64decode(headers.get("Sec-WebSocket-Key", ""), validate=True)
    except ValueError:
        key = b""
    if len(key) != 16:
        return 400, "Sec-WebSocket-Key must be 16 bytes in base64."
    return None


async def admit(registry: ServiceRegistry, handshake: Handshake) -> Any:
    """The identity of a peer that may connect. Raises Refused, also where nobody decides in time.

    ``limits.handshake_timeout`` bounds what ``authenticate`` may take.
    """
    admitting = registry.admit(handshake)
    try:
        try:
            waits_for = admitting.send(None)
        except StopIteration as admitted:
            return admitted.value  # mostly nobody has to be waited for, and no timer is needed
        async with asyncio.timeout(registry.limits.handshake_timeout):
            return await _go_on(admitting, waits_for)
    except TimeoutError as error:  # those of authenticate itself have become Refused
        raise Refused(503, "Not admitted in time") from error


@coroutine
def _go_on(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """Await a coroutine that has begun, and waits for something."""
    try:
        while True:
            try:
                value = yield waits_for
            except BaseException as error:
                waits_for = begun.throw(error)
            else:
                waits_for = begun.send(value)
    except StopIteration as done:
        return done.value


def why_refused(refused: Refused) -> str:
    """For the log: what the peer is told, and the kind of exception behind it where there is one.

    Not that exception's text: it may quote what the peer sent.
    """
    cause = refused.__cause__
    return refused.reason if cause is None else f"{refused.reason} ({type(cause).__name__})"


def subprotocols_of(headers: Mapping[str, str]) -> list[str]:
    """The subprotocols that the peer offers."""
    offered = headers.get("Sec-WebSocket-Protocol")
    if offered is None:
        return []
    return [name.strip() for name in offered.split(",") if name.strip()]


def select_subprotocol(offered: Iterable[str]) -> str | None:
    """Our own client offers ``snorky``: heartbeats that pages can see."""
    return HEARTBEAT_SUBPROTOCOL if HEARTBEAT_SUBPROTOCOL in offered else None


def upgrade_headers(key: str, subprotocol: str | None) -> dict[str, str]:
    """The headers of the response that accepts (RFC 6455, 4.2.2)."""
    accept = hashlib.sha1(key.encode("latin-1") + _ACCEPT_GUID).digest()  # noqa: S324  # RFC 6455
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": base64.b64encode(accept).decode("ascii"),
    }
    if subprotocol is not None:
        headers["Sec-WebSocket-Protocol"] = subprotocol
    return headers


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Status line and headers, with the empty line that ends them."""
    lines = [f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join((*lines, "", "")).encode("utf-8")
