"""A page takes back what it asked for while its permission is looked up: its last word holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky.services.base import RPCError, RPCService
from snorky.services.chat import ChatService
from snorky.services.cursors import CursorsService
from snorky.services.messaging import MessagingService
from snorky.services.pubsub import PubSubService
from snorky.testing import FakeClient, async_call, call
from tests.services.late_broker import settle


class Office:
    """Where permissions are looked up, and take as long as the test says."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def ask(self) -> bool:
        await self.open.wait()
        return True


class PubSub(PubSubService):
    office: Office

    async def can_subscribe(self, client: Any, channel: Any) -> bool:
        return await self.office.ask()


class Chat(ChatService):
    office: Office

    async def can_join(self, client: Any, channel: Any) -> bool:
        return await self.office.ask()


class Messaging(MessagingService):
    office: Office

    async def is_name_allowed(self, client: Any, name: str) -> bool:
        return await self.office.ask()


class Cursors(CursorsService):
    office: Office

    async def can_join(self, client: Any, document: Any) -> bool:
        return await self.office.ask()


SERVICES: list[tuple[type[Any], str, str, str]] = [
    (PubSub, "subscribe", "unsubscribe", "channel"),
    (PubSub, "join", "leave", "channel"),
    (Chat, "join", "leave", "channel"),
    (Messaging, "registerParticipant", "unregisterParticipant", "name"),
    (Cursors, "join", "leave", "document"),
]


class Page:
    def __init__(self, kind: type[Any], on: str, off: str, parameter: str) -> None:
        self.service: RPCService = kind("service")
        self.office = self.service.office = Office()  # type: ignore[attr-defined]
        self.client = FakeClient("alice")
        self._on, self._off = on, off
        self._params = {parameter: "tea"}

    def on(self) -> asyncio.Task[Any]:
        return asyncio.ensure_future(
            async_call(self.service, self.client, self._on, **self._params)
        )

    def off(self) -> Any:
        return call(self.service, self.client, self._off, **self._params)

    def is_in(self) -> bool:
        """Whether there is something to leave."""
        try:
            self.off()
        except RPCError:
            return False
        return True


@pytest.fixture(params=SERVICES, ids=lambda row: f"{row[0].__name__}-{row[1]}")
async def page(request: pytest.FixtureRequest) -> Page:
    return Page(*request.param)


async def test_who_takes_it_back_is_not_in(page: Page) -> None:
    on = page.on()
    await settle()
    assert page.off() is None
    page.office.open.set()
    with pytest.raises(RPCError, match=r"^Withdrawn$"):
        await on

    assert not page.is_in()
    assert not page.service._joining  # type: ignore[attr-defined]


async def test_who_wants_it_again_is_in(page: Page) -> None:
    first = page.on()
    await settle()
    page.off()
    again = page.on()
    await settle()
    page.office.open.set()
    with pytest.raises(RPCError, match=r"^Withdrawn$"):
        await first
    await again

    assert page.is_in()


async def test_what_was_not_asked_for_cannot_be_taken_back(page: Page) -> None:
    with pytest.raises(RPCError):
        page.off()


async def test_who_goes_is_not_in(page: Page) -> None:
    on = page.on()
    await settle()
    page.service.client_disconnected(page.client)
    page.office.open.set()
    with pytest.raises(RPCError, match=r"^Withdrawn$"):
        await on

    assert not page.is_in()
    assert not page.service._joining  # type: ignore[attr-defined]
