"""The client at the other end of a WebSocket connection of ours."""

from __future__ import annotations

from typing import Any

from snorky.client import Client
from snorky.connection import Connection
from snorky.envelope import text_frame
from snorky.metrics import metrics


class ConnectedClient(Client):
    """A client at the other end of a Connection."""

    def __init__(self, remote_address: str | None = None, identity: Any = None) -> None:
        self.remote_address = remote_address
        self.identity = identity
        self.connection: Connection | None = None

    def send(self, msg: Any) -> None:
        frame = text_frame(msg)
        if self.connection is not None and not self.connection.closing:
            metrics.messages_sent += 1
            self.connection.send_frame(frame)

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.connection is not None:
            self.connection.close(code, reason)

    @property
    def unsent_bytes(self) -> int:
        return 0 if self.connection is None else self.connection.unsent_bytes
