"""One client's stay, whatever the edge: it comes, speaks, is slow or silent, and goes.

What is counted, guarded and logged about it is here, once. Functions, not an object: an idle client
costs memory enough. What happens for each message of a WebSocket is in ``snorky.connection``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from snorky import close_codes
from snorky.client import Client
from snorky.hooks import HOOK_FAULTS
from snorky.limits import Limits
from snorky.log import printable, snorky_log
from snorky.metrics import metrics

TOO_BIG = 1009  # RFC 6455, 7.4.1


def comes(client: Client, limits: Limits) -> None:
    """It has been admitted; ``goes`` is due, whatever happens."""
    client.log_lines_left = limits.max_log_lines_per_client
    metrics.clients += 1
    metrics.clients_connected += 1


def greet(client: Client, tell: Callable[[Any], Any]) -> Any:
    """Tell the services of it; what fails there closes it. Returns what they returned."""
    try:
        return tell(client)
    except HOOK_FAULTS:
        snorky_log.exception("Unhandled exception while connecting %s", _address_of(client))
        client.close(*close_codes.INTERNAL_ERROR)
        return None


def speaks(
    client: Client, text: str | bytes, limits: Limits, tell: Callable[[Any, Any], Any]
) -> None:
    """Hand over one message. What is too long, or fails outside of every service, closes it."""
    if size_of(text) > limits.max_message_bytes:
        client.close(TOO_BIG, f"message over {limits.max_message_bytes} bytes")
        return
    metrics.messages_received += 1
    try:
        tell(client, text)
    except HOOK_FAULTS:
        failed(client)


def failed(client: Client) -> None:
    """Something that handles its messages raised: log what, and close it."""
    snorky_log.exception("Unhandled exception in the connection of %s", _address_of(client))
    client.close(*close_codes.INTERNAL_ERROR)


def is_slow(remote_address: str | None, unsent_bytes: int, max_unsent_bytes: int) -> None:
    """It has not read what waits for it, and is cut off."""
    metrics.clients_slow += 1
    snorky_log.info(
        "Client %s is too slow: %d bytes unsent, at most %d may be; disconnected",
        printable(remote_address),
        unsent_bytes,
        max_unsent_bytes,
    )


def is_silent() -> None:
    """It gives no sign of life, and is cut off."""
    metrics.clients_silent += 1


def goes(client: Client, tell: Callable[[Any], Any] | None, *, counted: bool = True) -> None:
    """It has gone. ``tell``, where the services knew it, is given the client."""
    if counted:
        metrics.clients -= 1
    client.connected = False
    if tell is None:
        return
    try:
        tell(client)
    except HOOK_FAULTS:
        snorky_log.exception("Unhandled exception while disconnecting %s", _address_of(client))


def size_of(text: str | bytes) -> int:
    """The bytes of a message, as UTF-8."""
    if isinstance(text, bytes) or text.isascii():
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def _address_of(client: Client) -> str:
    return printable(client.remote_address)
