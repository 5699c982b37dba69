"""Requests that call us by a name that is none of ours are refused, whatever they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler, stream_request_body

from snorky.edges.handshakes import REFUSAL_TYPE
from snorky.identity.origins import host_allowed
from snorky.metrics import metrics


class AllowedHosts:
    """Names of ours beside those of this machine; None: any. See ``host_allowed``."""

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self._names = names

    def __contains__(self, host: str) -> bool:
        return self._names is None or host_allowed(host, self._names)

    @property
    def rules(self) -> list[Rule]:
        """For the beginning of an application's list of routes."""
        return [] if self._names is None else [Rule(_Foreign(self), HostRefusedHandler)]


class _Foreign(Matcher):
    def __init__(self, hosts: AllowedHosts) -> None:
        self._hosts = hosts

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return None if request.host in self._hosts else {}


@stream_request_body
class HostRefusedHandler(RequestHandler):
    refusal = ""
    """Why, and what to do, for the log."""

    def data_received(self, chunk: bytes) -> None:
        """Not kept."""

    def get(self) -> None:
        metrics.clients_refused += 1
        name = self.request.host_name
        reason = f"Host not allowed: {self.request.host}"
        self.refusal = f"{reason}. If it is a name of yours: --allowed-host {name}"
        self.set_status(403)
        self.set_header("Content-Type", REFUSAL_TYPE)
        self.finish(reason)

    head = post = delete = patch = put = options = get

    def check_xsrf_cookie(self) -> None:
        """Refused anyway."""
