"""Snorky's side of the demo: the list's changes, and the steps that the picture shows."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.web import Application

from snorky.client import Peer
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.service_registry import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import BroadcastDealer
from snorky.services.pubsub import PubSubService


class AllItems(BroadcastDealer):
    """Every subscriber hears of every change of an ``Item``."""

    model = "Item"


class Wire(PubSubService):
    """What happens between the web application, its database and Snorky, for pages to draw."""

    windows = 0

    def can_publish(self, client: Peer, channel: Any) -> bool:
        return False

    def client_connected(self, client: Peer) -> None:
        self._count(+1)

    def client_disconnected(self, client: Peer) -> None:
        super().client_disconnected(client)
        self._count(-1)

    def step(self, source: str, target: str, text: str, *, window: str, detail: Any = None) -> None:
        """``source`` and ``target``: "window", "app", "database" or "snorky".

        ``window`` is the one on whose behalf it happens.
        """
        step = {"from": source, "to": target, "text": text, "window": window, "detail": detail}
        self.do_publish("steps", step)

    def _count(self, change: int) -> None:
        self.windows += change
        self.do_publish("windows", self.windows)


class Live:
    """The services of the demo."""

    def __init__(self) -> None:
        datasync = DataSyncService("datasync", [AllItems])
        self.wire = Wire("wire")
        self.publishing = asyncio.Lock()
        """Who writes: held from before the commit until it is published."""
        self.frontend = ServiceRegistry([datasync, self.wire])
        self.backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])

    def backend_application(self, api_key: str) -> Application:
        options = {"service_registry": self.backend, "api_key": api_key}
        return Application([("/backend", BackendHTTPHandler, options)], log_function=_no_log)


def _no_log(handler: Any) -> None:
    """The picture shows what happens."""
