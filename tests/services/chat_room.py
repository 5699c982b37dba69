"""A chat where it is always noon, and what is heard there."""

from datetime import UTC, datetime
from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.chat import ChatService
from snorky.testing import call

NOON = "2026-01-02T12:00:00+00:00"


class NoonChat(ChatService):
    """It is always noon."""

    def get_time(self) -> datetime:
        return datetime(2026, 1, 2, 12, tzinfo=UTC)


def join(chat: ChatService, *clients: Any, channel: Any = "tea") -> Any:
    """Let clients join, forget what they heard of that, and return who was there at the end."""
    reply = None
    for client in clients:
        reply = call(chat, client, "join", channel=channel)
    for client in clients:
        client.received.clear()
    return reply and reply["members"]


def refused(chat: ChatService, client: Any, command: str, **params: Any) -> str:
    with pytest.raises(RPCError) as refusal:
        call(chat, client, command, **params)
    return str(refusal.value)


def said(sender: Any, body: Any, channel: Any = "tea") -> dict[str, Any]:
    return {"type": "message", "from": sender, "channel": channel, "body": body, "timestamp": NOON}


def presence(identity: Any, status: str, channel: Any = "tea") -> dict[str, Any]:
    return {
        "type": "presence",
        "from": identity,
        "channel": channel,
        "status": status,
        "timestamp": NOON,
    }


def read_mark(channel: Any = "tea") -> dict[str, Any]:
    return {"type": "read", "channel": channel, "timestamp": NOON}
