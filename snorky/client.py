"""One connected peer, as services see it."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from snorky.log import allowance, printable, snorky_log
from snorky.metrics import metrics


class Peer(Protocol):
    """What services ask of a client: a ``Client``, or whatever a test gives them in its place.

    Services keep peers in sets and as keys, and compare them by identity.
    """

    identity: Any

    def send(self, msg: Any) -> None:
        """See ``Client.send``."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """See ``Client.close``."""


class Client:
    """Base of every connected peer. An edge subclasses it.

    Services keep clients in sets and as keys: two clients are never equal.
    """

    identity: Any = None
    """Who it is, as the application's ``authenticate`` said; None until authenticated."""

    remote_address: str | None = None
    """The peer's address, as text without the port."""

    connected: bool = True
    """False once the connection has ended; ``send`` then does nothing."""

    log_lines_left: int = 100
    """How many of its faults are still logged."""

    def send(self, msg: Any) -> None:
        """Send any JSON value.

        Encodes before it returns: later changes of ``msg`` are not sent, and a value that
        cannot be encoded raises TypeError or ValueError here. Does nothing for a client that
        has gone, and never calls back into services.
        """
        raise NotImplementedError

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; what was sent before still arrives if the peer reads it."""
        raise NotImplementedError

    @property
    def unsent_bytes(self) -> int:
        """Bytes accepted by ``send`` that have not been given to the operating system."""
        return 0

    def message_refused(self, reason: str, status: int = 400) -> None:
        """A message of this client was dropped. An edge that can tell its peer overrides this.

        ``status`` is what HTTP would answer: 400 for a fault of the message, 500 for ours.
        """


def log_about(
    client: Peer,
    text: str,
    *,
    level: int = logging.WARNING,
    exc_info: bool | BaseException = False,
    why: str = "",
) -> None:
    """Log what came of a message of ``client``, any object with ``send``.

    ``why`` is a line of its own, which does not count.

    Past ``log_lines_left`` nothing is logged, and little past what its address may cause: a peer
    that floods us with garbage, or with calls that are refused, must not fill the disk, nor one
    that connects again and again.
    """
    if not snorky_log.isEnabledFor(level):
        return
    left = getattr(client, "log_lines_left", 1)
    if left <= 0 or not allowance.take(getattr(client, "remote_address", None)):
        return
    snorky_log.log(level, "%s", text, exc_info=exc_info)
    if why:
        snorky_log.info("%s", why)
    if isinstance(client, Client):
        client.log_lines_left = left - 1
        if left == 1:
            snorky_log.warning(
                "Further lines about client %s are not logged",
                printable(client.remote_address),
            )


def refuse_message(client: Peer, reason: str, *, status: int = 400, exc_info: bool = False) -> None:
    """Drop a message: log ``reason`` once, count it, and tell the client if its edge can."""
    metrics.messages_refused += 1
    level = logging.ERROR if status >= 500 else logging.WARNING
    log_about(client, reason, level=level, exc_info=exc_info)
    tell = getattr(client, "message_refused", None)  # users' fakes have none
    if tell is not None:
        tell(reason, status)
