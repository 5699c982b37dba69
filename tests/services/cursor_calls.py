"""Calls of a Cursors service, and what is heard of them."""

from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.cursors import CursorsService
from snorky.testing import call


def join(cursors: CursorsService, *clients: Any, document: Any = "plan") -> Any:
    """Let clients join, and return which cursors the last of them found there."""
    reply = None
    for client in clients:
        reply = call(cursors, client, "join", document=document)
    return reply and reply["cursors"]


def create(
    cursors: CursorsService,
    client: Any,
    handle: Any,
    *,
    document: Any = "plan",
    position: Any = 0,
    status: Any = None,
) -> Any:
    place = {"document": document, "position": position, "status": status}
    return call(cursors, client, "createCursor", privateHandle=handle, **place)


def update(cursors: CursorsService, client: Any, handle: Any, **new_data: Any) -> Any:
    return call(cursors, client, "updateCursor", privateHandle=handle, newData=new_data)


def refused(cursors: CursorsService, client: Any, command: str, **params: Any) -> str:
    with pytest.raises(RPCError) as refusal:
        call(cursors, client, command, **params)
    return str(refusal.value)


def refused_cursor(cursors: CursorsService, client: Any, handle: Any, **place: Any) -> str:
    with pytest.raises(RPCError) as refusal:
        create(cursors, client, handle, **place)
    return str(refusal.value)


def cursor(handle: int, owner: Any, **data: Any) -> dict[str, Any]:
    place = {"document": "plan", "position": 0, "status": None, **data}
    return {"publicHandle": handle, "owner": owner, **place}


def removed(handle: int, document: Any = "plan") -> dict[str, Any]:
    return {"type": "cursorRemoved", "cursor": {"publicHandle": handle, "document": document}}
