"""The back end: trusted servers send one envelope by POST and get the service's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, RequestHandler, stream_request_body

from snorky.edges.backend import (
    READ_PAST_LIMIT,
    HTTPClient,
    check_key,
    check_length,
    is_a_key,
    message_in,
    too_large,
    unanswered,
)
from snorky.identity import Refused
from snorky.metrics import metrics, prometheus_text
from snorky.readiness import Readiness
from snorky.request_handlers.tornado_internals import reason_of
from snorky.service_registry import ServiceRegistry
from snorky.wire import encode

__all__ = ["BackendHTTPHandler", "HTTPClient", "LiveHandler", "MetricsHandler", "ReadyHandler"]


@stream_request_body
class BackendHTTPHandler(RequestHandler):
    """POST one envelope as UTF-8 JSON, with the header ``X-Backend-Key``.

    Answers the service's single reply in its envelope, with status 200 also for RPC errors. Every
    other answer is ``{"error": "<text>"}``: 400 for what is no message, 401 for the key, 405, 413
    past ``limits.max_backend_message_bytes``, 500, 504 where the service does not answer within
    ``limits.backend_timeout``. Key and size are checked before the body is kept.
    """

    refusal = ""
    """Why the request was refused, for the log."""

    def initialize(self, service_registry: ServiceRegistry, api_key: str | Collection[str]) -> None:
        """``api_key``: one key, or several of which any opens (to change keys without a pause)."""
        self.service_registry = service_registry
        self.api_key = api_key
        self._body = bytearray()
        # Nobody comes in where prepare has not said so.
        self._refusal: HTTPError | None = HTTPError(401, "Missing X-Backend-Key header")
        self.client = HTTPClient(self.request.remote_ip)

    async def prepare(self) -> None:
        metrics.backend_requests += 1
        limits = self.service_registry.limits
        # What is refused is read to its end and dropped, so that the answer arrives: a connection
        # closed with unread input is reset, and the answer may be lost with it.
        connection = cast(HTTP1Connection, self.request.connection)
        connection.set_max_body_size(READ_PAST_LIMIT * limits.max_backend_message_bytes)
        connection.set_body_timeout(limits.backend_timeout)
        try:
            await check_key(self.request.headers, self.check_api_key)
            check_length(self.request.headers, self._max_bytes)
            self._refusal = None
        except HTTPError as refusal:
            self._refusal = refusal
        except Refused as refused:
            self._refusal = _as_http_error(refused)

    def check_api_key(self, api_key: str) -> Awaitable[None] | None:
        """Raise ``tornado.web.HTTPError`` unless ``api_key`` opens.

        May be overridden, also by an ``async`` method. This one compares with every key, each in
        constant time: the time taken tells nothing about any of them.
        """
        keys = [self.api_key] if isinstance(self.api_key, str) else self.api_key
        if not is_a_key(api_key, keys):
            raise HTTPError(401, "Invalid API key")
        return None

    def check_xsrf_cookie(self) -> None:
        """The key is checked instead: programs know nothing of such cookies."""

    def data_received(self, chunk: bytes) -> None:
        if self._refusal is not None:
            return
        self._body += chunk
        if len(self._body) > self._max_bytes:
            self._body.clear()
            self._refusal = _as_http_error(too_large(self._max_bytes))

    async def post(self) -> None:
        """Hand the envelope in the body to its service, and answer with what that replies."""
        if self._refusal is not None:
            raise self._refusal
        try:
            msg = message_in(bytes(self._body))
        except Refused as refused:
            raise _as_http_error(refused) from refused
        self.service_registry.process_message_from(self.client, msg)
        try:
            async with asyncio.timeout(self.service_registry.limits.backend_timeout):
                status, body = await self.client.response
        except TimeoutError as error:
            raise _as_http_error(unanswered()) from error
        if not self.client.connected:
            return
        if status != 200:
            metrics.backend_refused += 1
        self.set_status(status)
        self._finish_json(body)

    def on_finish(self) -> None:
        self.client.connected = False

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.client.connected = False
        self.client.message_refused("The sender has gone")  # nobody waits any more

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        metrics.backend_refused += 1
        error = kwargs.get("exc_info", (None, None))[1]
        text = None
        if isinstance(error, HTTPError) and error.log_message:
            text = error.log_message % error.args if error.args else error.log_message
        self.refusal = text or reason_of(self)
        self._finish_json(encode({"error": self.refusal}))

    def _finish_json(self, body: bytes) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(body)

    @property
    def _max_bytes(self) -> int:
        return self.service_registry.limits.max_backend_message_bytes


def _as_http_error(refused: Refused) -> HTTPError:
    return HTTPError(refused.status, "%s", refused.reason)


class LiveHandler(RequestHandler):
    """Says that the process runs and its loop turns."""

    def get(self) -> None:
        """Status 200: the loop turns."""
        self.set_header("Cache-Control", "no-store")
        self.write({"status": "live"})


class ReadyHandler(RequestHandler):
    """Says whether clients may be sent to this process: status 200, or 503 with the reason.

    ``tells``: whether the reason is told; not where strangers ask.
    """

    def initialize(self, readiness: Readiness, *, tells: bool = True) -> None:
        """What the route gives along."""
        self._readiness = readiness
        self._tells = tells

    async def get(self) -> None:
        """Ask the engine, and answer."""
        fault = await self._readiness.fault()
        self.set_header("Cache-Control", "no-store")
        if fault is None:
            self.write({"status": "ready"})
            return
        self.set_status(503)
        self.write({"status": "not ready", **({"reason": fault} if self._tells else {})})


class MetricsHandler(RequestHandler):
    """The metrics of this process for Prometheus. For the private port."""

    def get(self) -> None:
        """Every metric of docs/reference/metrics.md, in the text format."""
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(prometheus_text())
